import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { commandLine } from '../cli/commands.ts';
import { VARIABLES } from '../cli/environment.ts';
import { KEY_LIST, SECTION } from '../config/keys.ts';
import { keepCurrent } from './committed.ts';
import { buildManual } from './manual.ts';
import { buildReference, type CommandText, type Subject } from './reference.ts';

// Apart from generate.ts: the commands need the native build, and that needs what generate.ts writes.

// Defaults are the command's own, whatever this process was started with.
for (const { name } of [...VARIABLES, ...KEY_LIST]) delete process.env[name];

/** What a command's help says behind its options. */
function afterHelp(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: (piece) => {
      text += piece;
    },
  });
  command.outputHelp();
  return text.slice(command.helpInformation().length).trim();
}

function textOf(command: Command, parent = ''): CommandText {
  const name = `${parent}${command.name()}`;
  return {
    name,
    summary: command.description(),
    usage: command.usage().replace(' [command]', ''),
    parameters: command.registeredArguments.map((parameter) => ({
      name: `${parameter.name()}${parameter.variadic ? '...' : ''}`,
      description: parameter.description,
    })),
    options: command.options.map((option) => ({
      flags: option.flags,
      description: option.description,
      default: option.defaultValueDescription ?? option.defaultValue?.toString(),
      required: option.mandatory,
    })),
    after: afterHelp(command),
    commands: command.commands.map((child) => textOf(child, `${name} `)),
  };
}

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};
const subject: Subject = {
  version,
  commands: commandLine().commands.map((command) => textOf(command)),
  settings: KEY_LIST,
  variables: VARIABLES,
  section: SECTION,
};

keepCurrent({ 'docs/configuration.md': buildReference(subject), ...buildManual(subject) });
