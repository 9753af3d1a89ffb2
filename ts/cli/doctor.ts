import type { Command } from 'commander';
import { CHECKS, look } from './checks.ts';
import { ControlTrial } from './controlTrial.ts';
import { EngineTrial } from './engineTrial.ts';
import { DEFAULT_SECRETS } from './environment.ts';
import type { Finding, Side } from './finding.ts';
import { oneLineErrors } from './oneLineErrors.ts';
import { showingProgress } from './progress.ts';
import { reachControl } from './reachControl.ts';
import { folded, type Page, type Paint, pageOf, painted, paragraphs } from './terminal.ts';

const SIDES: readonly Side[] = ['client', 'server'];

const AFTER_HELP = [
  'ok is fine, -- is worth knowing, !! is in the way. Sockets that are tried out never send a packet; where a control process runs, it is asked.',
  'Exit status: 0 if stealth would work here both as a client and as a server, else 1.',
];

/** Adds `knockify doctor`: what this machine, this user and this configuration lack for TCP Stealth. */
export function register(program: Command): void {
  oneLineErrors(program.command('doctor'))
    .description('check whether TCP Stealth would work here, and say what to do if not')
    .option('--secrets <dir>', 'the folder of named secrets', DEFAULT_SECRETS)
    .allowExcessArguments(false)
    .addHelpText('after', paragraphs(...AFTER_HELP))
    .action(async ({ secrets }: { secrets: string }) => {
      const prevented = await examine(secrets);
      const page = pageOf(process.stdout);
      const [no, yes] = [painted(page, 'red', 'no'), painted(page, 'green', 'yes')];
      for (const side of SIDES) process.stdout.write(`as a ${side}: ${prevented.has(side) ? no : yes}\n`);
      process.exitCode = prevented.size === 0 ? 0 : 1;
    });
}

/** Makes all checks and prints them; returns the sides on which stealth would not work. */
async function examine(secrets: string): Promise<Set<Side>> {
  const { env } = process;
  const reach = reachControl(env);
  const trial =
    reach.state === 'serves' ? new ControlTrial(reach.socket, env) : new EngineTrial(env.KNOCK_ENGINE);
  const prevented = new Set<Side>();
  try {
    for (const check of CHECKS) {
      const looking = look(check, { env, reach, trial, secrets });
      const finding = await showingProgress(`looking at: ${check.name}`, looking);
      for (const side of finding.prevents) prevented.add(side);
      process.stdout.write(`${entry(pageOf(process.stdout), check.name, finding)}\n`);
    }
  } finally {
    trial.close();
  }
  return prevented;
}

const PAINTS: Readonly<Record<Finding['mark'], Paint>> = { ok: 'green', '--': 'dim', '!!': 'red' };

/** One line for programs to read. On a terminal, the remedy has a line of its own. */
function entry(page: Page, name: string, { mark, text, remedy }: Finding): string {
  const found = text.trim().replace(/\s*\n\s*/g, ' | ');
  const painting = `${painted(page, PAINTS[mark], mark)}  ${painted(page, 'bold', name)}: `;
  const lead = { text: painting, width: `${mark}  ${name}: `.length, indent: mark.length + 2 };
  if (page.columns === undefined)
    return folded(page, remedy === undefined ? found : `${found} — ${remedy}`, lead);
  return folded(page, remedy === undefined ? found : `${found}\n→ ${remedy}`, lead);
}
