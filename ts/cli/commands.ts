import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import * as check from './check.ts';
import * as control from './control.ts';
import * as doctor from './doctor.ts';
import * as isn from './isn.ts';
import * as run from './run.ts';
import * as secret from './secret.ts';
import { pageOf, painted, proseOf } from './terminal.ts';

const AFTER_HELP = `
First steps:
  knockify doctor                    would it work here? ask at both ends
  knockify secret ~/knock.key        make a secret, and copy it to the other end
  knockify run --secret-file ~/knock.key -- COMMAND...
                                     a server or a client, hidden or knocking
  knockify check HOST PORT           is it hidden, and does the secret open it?

'knockify COMMAND --help' and the manual page knockify-COMMAND(1) say more.`;

/** As it is in package.json. */
function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
}

/** The whole of the command line, ready to parse. */
export function commandLine(): Command {
  const program = new Command('knockify')
    .description('TCP Stealth on stock Linux kernels: hide a TCP server, reach it with the programs you have')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [command]', 'print the help of a command')
    .configureHelp({ styleTitle: (title) => painted(pageOf(process.stdout), 'bold', title) })
    .configureOutput({ getOutHelpWidth: () => proseOf(process.stdout).columns })
    .addHelpText('after', AFTER_HELP)
    .showHelpAfterError('(knockify --help says more)')
    .exitOverride((error) => {
      process.exit(error.exitCode === 0 ? 0 : 2);
    });
  for (const command of [run, check, control, doctor, secret, isn]) command.register(program);
  return program;
}
