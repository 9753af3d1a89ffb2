import { Command } from 'commander';
import * as check from './check.ts';
import * as control from './control.ts';
import * as doctor from './doctor.ts';
import * as isn from './isn.ts';
import * as run from './run.ts';
import * as secret from './secret.ts';

/** The whole of the command line, ready to parse. */
export function commandLine(): Command {
  const program = new Command('knockify')
    .description('TCP Stealth on stock Linux kernels: hide a TCP server, reach it with the programs you have')
    .showHelpAfterError('(knockify --help says more)')
    .exitOverride((error) => {
      process.exit(error.exitCode === 0 ? 0 : 2);
    });
  for (const command of [run, check, control, doctor, secret, isn]) command.register(program);
  return program;
}
