import { execFileSync } from 'node:child_process';
import { release } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PYTHON, REPOSITORY, run, start, untilListening } from './program.ts';
import { MODES, openStealthLab } from './stealthlab.ts';
import { compareSamples, median, probesThroughJitter, probesToTell } from './twoSamples.ts';

/** `npm run timing [PROBES]`: what the round-trip times of RSTs tell, from guarded ports and from closed ones. */

const PROBES = Number(process.argv[2] ?? 20_000);
const PORTS = { auth: 9701, integrity: 9702 } as const;
const CLOSED = [9711, 9712];
/** Standard deviations of a network's delay, in ns. */
const JITTERS = { '10 µs': 1e4, '100 µs': 1e5, '1 ms': 1e6 };

const stealth = await openStealthLab();
try {
  const { lab, client, server } = stealth;
  for (const mode of MODES) {
    const command = [PYTHON, '-u', `${REPOSITORY}/test/programs/acceptor.py`, '0.0.0.0', String(PORTS[mode])];
    await untilListening(start(server, command, { knock: stealth.knock(server, mode) }), PORTS[mode]);
  }
  const program = join(lab.directory, 'rtt');
  const source = fileURLToPath(new URL('rtt.c', import.meta.url));
  execFileSync('cc', ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', source, '-o', program]);
  const names = [...MODES.map((mode) => `guarded, ${mode}`), 'closed', 'another closed one'];
  const ports = [...MODES.map((mode) => PORTS[mode]), ...CLOSED];
  const addresses = [client.addresses.ipv4, server.addresses.ipv4];
  const command = [program, ...addresses, String(PROBES), ...ports.map(String)];
  const outcome = await run(client, command, { timeout: 600_000 });
  if (outcome.status !== 0) throw new Error(outcome.stderr);
  const rounds = outcome.stdout
    .trim()
    .split('\n')
    .map((line) => line.split(' ').map(Number));
  const samples = ports.map((_, i) => rounds.map((times) => times[i] ?? 0));
  console.log(`Linux ${release()}, ${new Date().toISOString().slice(0, 10)}: ${rounds.length} probes each\n`);
  const closed = samples[MODES.length] ?? [];
  for (const [i, name] of names.entries()) {
    const sample = samples[i] ?? [];
    console.log(`${name}: median ${(median(sample) / 1000).toFixed(2)} µs`);
    if (sample === closed) continue;
    const { shift, superiority, z, p } = compareSamples(closed, sample);
    console.log(
      `  against closed: ${(shift / 1000).toFixed(3)} µs, P(slower) ${superiority.toFixed(4)}, z ${z.toFixed(1)}, p ${p < Number.MIN_VALUE ? '< 1e-300' : p.toExponential(1)}`,
    );
    // Nothing tells one closed port from another.
    if (i > MODES.length) continue;
    const through = Object.entries(JITTERS).map(
      ([text, jitter]) => `${text} jitter: ${probesThroughJitter(shift, jitter).toLocaleString('en')}`,
    );
    console.log(
      `  probes to tell: ${probesToTell(superiority).toLocaleString('en')}; with ${through.join(', ')}`,
    );
  }
} finally {
  stealth.close();
}
