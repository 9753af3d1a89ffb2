import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { REPOSITORY, until } from '../lab/program.ts';

/** The processes that have a lab and measure. */
function benches(): number[] {
  const labs = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  const owners = new Set(labs.flatMap((name) => /^knocklab-(\d+)-/.exec(name)?.[1] ?? []).map(Number));
  return [...owners].filter((pid) => {
    const path = `/proc/${pid}/cmdline`;
    return existsSync(path) && readFileSync(path, 'latin1').includes('bench/main.ts');
  });
}

const namespacesOf = (pid: number) =>
  readdirSync('/run/netns').filter((name) => name.startsWith(`knocklab-${pid}-`));

test.each(['SIGTERM', 'SIGINT'] as const)(
  'npm run bench ends with %s, and takes its namespaces away',
  async (signal) => {
    const { scripts } = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8'));
    // As npm does it, but nothing is installed.
    const script = scripts.bench.replace('bash .ci/setup bench', 'true');
    expect(script).not.toBe(scripts.bench);
    const others = new Set(benches());
    const own = () => benches().find((pid) => !others.has(pid));
    const path = `${join(REPOSITORY, 'node_modules/.bin')}:${process.env.PATH}`;
    const shell = spawn('sh', ['-c', `${script} --rounds 1000 startup`], {
      cwd: REPOSITORY,
      env: { ...process.env, PATH: path },
      stdio: 'ignore',
    });
    const ended = once(shell, 'close');
    try {
      await until('its lab', () => own() !== undefined || shell.exitCode !== null, 30_000);
      const pid = own() ?? Number.NaN;
      expect(namespacesOf(pid)).not.toEqual([]);
      shell.kill(signal);
      await ended;
      await until('the end', () => !existsSync(`/proc/${pid}`));
      expect(namespacesOf(pid)).toEqual([]);
      expect(readdirSync('/tmp').filter((name) => name.startsWith(`knocklab-${pid}-`))).toEqual([]);
    } finally {
      shell.kill('SIGKILL');
    }
  },
);
