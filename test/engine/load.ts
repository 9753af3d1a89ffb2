import { encodeGuardConfig } from '../../ts/engine/stock/layout.ts';
import { loadBpf } from '../../ts/sys/libbpf.ts';

/** Loads every BPF program in every form in which it is loaded, and says of each what came of it. */

const SECRET = new Uint8Array(64).fill(7);
const BOTH = [false, true] as const;

const outcomes: Record<string, string> = {};

function attempt(what: string, file: string, rodata?: Uint8Array): void {
  try {
    loadBpf(file, rodata && { rodata }).close();
    outcomes[what] = 'loaded';
  } catch (error) {
    outcomes[what] = error instanceof Error ? error.message : String(error);
  }
}

attempt('filters', 'armed.bpf.o');
attempt('first segments', 'first.bpf.o');
for (const secret of [SECRET, undefined])
  for (const named of secret === undefined ? ([true] as const) : BOTH)
    for (const integrity of BOTH)
      for (const refuseReplays of BOTH) {
        const what = JSON.stringify({ own: secret !== undefined, named, integrity, refuseReplays });
        attempt(
          `guard ${what}`,
          'guard.bpf.o',
          encodeGuardConfig(secret, { named, integrity, refuseReplays }),
        );
      }
process.stdout.write(JSON.stringify(outcomes));
