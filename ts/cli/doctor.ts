import type { Command } from 'commander';
import { CHECKS, look } from './checks.ts';
import { ControlTrial } from './controlTrial.ts';
import { EngineTrial } from './engineTrial.ts';
import type { Finding, Side } from './finding.ts';
import { oneLineErrors } from './oneLineErrors.ts';
import { reachControl } from './reachControl.ts';

const SIDES: readonly Side[] = ['client', 'server'];

const AFTER_HELP = `
ok is fine, -- is worth knowing, !! is in the way. Exit status: 0 if stealth would work here both as a client and as
a server, else 1. Sockets that are tried out never send a packet; where a control process runs, it is asked.`;

/** Adds `knockify doctor`: what this machine, this user and this configuration lack for TCP Stealth. */
export function register(program: Command): void {
  oneLineErrors(program.command('doctor'))
    .description('check whether TCP Stealth would work here, and say what to do if not')
    .allowExcessArguments(false)
    .addHelpText('after', AFTER_HELP)
    .action(async () => {
      const prevented = await examine();
      for (const side of SIDES) process.stdout.write(`as a ${side}: ${prevented.has(side) ? 'no' : 'yes'}\n`);
      process.exitCode = prevented.size === 0 ? 0 : 1;
    });
}

/** Makes all checks and prints them; returns the sides on which stealth would not work. */
async function examine(): Promise<Set<Side>> {
  const { env } = process;
  const reach = reachControl(env);
  const trial =
    reach.state === 'serves' ? new ControlTrial(reach.socket, env) : new EngineTrial(env.KNOCK_ENGINE);
  const prevented = new Set<Side>();
  try {
    for (const check of CHECKS) {
      const finding = await look(check, { env, reach, trial });
      for (const side of finding.prevents) prevented.add(side);
      process.stdout.write(`${line(check.name, finding)}\n`);
    }
  } finally {
    trial.close();
  }
  return prevented;
}

function line(name: string, { mark, text, remedy }: Finding): string {
  const found = remedy === undefined ? text : `${text} — ${remedy}`;
  return `${mark}  ${name}: ${found.trim().replace(/\s*\n\s*/g, ' | ')}`;
}
