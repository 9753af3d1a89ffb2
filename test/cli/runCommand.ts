import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { patient } from '../lab/slowness.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Runs one command of ts/cli in a process of its own, registered alone on a program, with exactly the given
 * environment. `name` is both the command and its module.
 */
export function runCommand(
  name: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): SpawnSyncReturns<string> {
  const main = `
    import { Command } from 'commander';
    import { register } from './ts/cli/${name}.ts';
    const program = new Command('knockify');
    register(program);
    await program.parseAsync(process.argv.slice(1), { from: 'user' });`;
  const node = ['--import', 'tsx', '--input-type=module', '--eval', main, '--', name, ...args];
  return spawnSync(process.execPath, node, {
    cwd: ROOT,
    env: { HOME: '/nonexistent', ...env },
    encoding: 'utf8',
    timeout: patient(15_000),
  });
}
