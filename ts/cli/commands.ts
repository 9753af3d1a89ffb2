import { Command } from 'commander';
import * as check from './check.ts';
import * as control from './control.ts';
import * as doctor from './doctor.ts';
import * as events from './events.ts';
import * as isn from './isn.ts';
import { oneLineErrors } from './oneLineErrors.ts';
import * as run from './run.ts';
import * as secret from './secret.ts';
import * as status from './status.ts';
import { pageOf, painted, proseOf } from './terminal.ts';
import { VERSION } from './version.ts';

const AFTER_HELP = `
First steps:
  knockify doctor                    would it work here? ask at both ends
  knockify secret ~/knock.key        make a secret, and copy it to the other end
  knockify run --secret-file ~/knock.key -- COMMAND...
                                     a server or a client, hidden or knocking
  knockify check HOST PORT           is it hidden, and does the secret open it?
  knockify status                    what is hidden here, and who knocked?

'knockify COMMAND --help' and the manual page knockify-COMMAND(1) say more.`;

/** The whole of the command line, ready to parse. */
export function commandLine(): Command {
  const program = new Command('knockify')
    .description('TCP Stealth on stock Linux kernels: hide a TCP server, reach it with the programs you have')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [command]', 'print the help of a command')
    .configureHelp({ styleTitle: (title) => painted(pageOf(process.stdout), 'bold', title) })
    .configureOutput({ getOutHelpWidth: () => proseOf(process.stdout).columns })
    .addHelpText('after', AFTER_HELP);
  // A command that is misspelt is worth a suggestion.
  oneLineErrors(program).showSuggestionAfterError(true);
  for (const command of [run, check, control, status, events, doctor, secret, isn]) command.register(program);
  return program;
}
