import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const LOAD = fileURLToPath(new URL('load.ts', import.meta.url));

function load(prefix: readonly string[]): Record<string, string> {
  const [program = '', ...command] = [...prefix, process.execPath, '--import', 'tsx', LOAD];
  return JSON.parse(
    execFileSync(program, command, { cwd: fileURLToPath(new URL('../..', import.meta.url)) }).toString(),
  );
}

const having = (...capabilities: string[]) => {
  const set = ['-all', ...capabilities.map((name) => `+${name}`)].join(',');
  return ['setpriv', `--bounding-set=${set}`, '--inh-caps=-all', '--'];
};

// CAP_PERFMON would make the verifier less strict.
test('every BPF program loads with CAP_NET_ADMIN and CAP_BPF alone, in every form', () => {
  const outcomes = load(having('net_admin', 'bpf'));
  expect(Object.keys(outcomes)).toHaveLength(2 + 3 * 4);
  expect(Object.entries(outcomes).filter(([, outcome]) => outcome !== 'loaded')).toEqual([]);
});

test('none loads with CAP_NET_ADMIN alone', () => {
  for (const outcome of Object.values(load(having('net_admin'))))
    expect(outcome).toContain('needs CAP_BPF, which this process lacks');
});
