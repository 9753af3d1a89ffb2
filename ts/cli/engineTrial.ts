import { randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import type { Engine, Peer } from '../engine/engine.ts';
import type { EngineChoice } from '../engine/select.ts';
import { missingCapabilities } from '../sys/capabilities.ts';
import { AF_INET, close, flock, LOCK_EX, SOCK_STREAM, socket } from '../sys/libc.ts';
import { bad, type Finding, failure, note, ok } from './finding.ts';
import type { Trial } from './trial.ts';

/** 127.0.0.1, the discard port. Nothing is ever sent there. */
const PEER: Peer = {
  address: Uint8Array.of(127, 0, 0, 1),
  port: 9,
  sockaddr: Uint8Array.of(AF_INET, 0, 0, 9, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0),
};

const STARTS: Readonly<Record<Engine['name'], string>> = {
  stock: 'BPF programs load, tc takes the filters',
  knock: 'not needed: the kernel has the Knock patch',
};

const NOT_TRIED = note('not tried: there is no engine');

/** Makes an engine of our own, where that disturbs nobody's, and tries it on sockets that connect to nothing. */
export class EngineTrial implements Trial {
  readonly #choice: string;
  #engine: Engine | undefined;
  #purge = false;

  /** `choice` is KNOCK_ENGINE. */
  constructor(choice: string | undefined) {
    this.#choice = choice ?? 'auto';
  }

  async engine(): Promise<Finding> {
    const choice = this.#choice;
    if (!isChoice(choice))
      return bad(`KNOCK_ENGINE=${choice}`, 'set it to auto, stock or knock, or not at all');
    if (missingCapabilities(['CAP_NET_ADMIN', 'CAP_BPF']).length > 0)
      return note('not tried: this process may not (see capabilities)');
    if (engineAtWork())
      return note(
        'not tried: a control process works in this network namespace, though not where KNOCK_CONTROL says',
      );
    try {
      // Not at the top: loading these fails where libbpf.so.1 is missing, which is something to report.
      const { createEngine } = await import('../engine/select.ts');
      const { waysHere } = await import('../engine/stock/ways.ts');
      // Filters that are there already may hold back the SYN of a delayed socket: then they have to stay.
      const inherited = waysHere().some((way) => way.replaceable().length > 0);
      if (inherited && missingCapabilities(['CAP_SYS_ADMIN']).length > 0)
        return note(
          'not tried: filters of an earlier control process are here, and BPF and tc worked for that',
        );
      this.#engine = createEngine(choice);
      this.#purge = !inherited;
      return ok(STARTS[this.#engine.name]);
    } catch (error) {
      return failure(error);
    }
  }

  client(): Finding {
    return this.#onScratch('client', (engine, fd) => {
      const { isn, tsval } = engine.arm(fd, PEER, randomBytes(64));
      engine.release(fd);
      return `a scratch socket was armed, T=${tsval} ISN=0x${isn.toString(16).padStart(8, '0')}`;
    });
  }

  server(): Finding {
    return this.#onScratch('server', (engine, fd) => {
      engine.guard(fd, { secret: randomBytes(64), protectedLength: 0 });
      return 'a scratch socket was guarded';
    });
  }

  close(): void {
    this.#engine?.close({ purge: this.#purge });
  }

  #onScratch(side: 'client' | 'server', attempt: (engine: Engine, fd: number) => string): Finding {
    if (this.#engine === undefined) return NOT_TRIED;
    const fd = socket(AF_INET, SOCK_STREAM, 0);
    try {
      return ok(attempt(this.#engine, fd));
    } catch (error) {
      return failure(error, [side]);
    } finally {
      close(fd);
    }
  }
}

function isChoice(text: string): text is EngineChoice {
  return text === 'auto' || text === 'stock' || text === 'knock';
}

/** Every engine holds a shared lock on its network namespace. */
function engineAtWork(): boolean {
  const namespace = openSync('/proc/self/ns/net', 'r');
  try {
    return !flock(namespace, LOCK_EX);
  } finally {
    closeSync(namespace);
  }
}
