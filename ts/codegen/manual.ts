import { type CallSpec, calls } from '../spec/calls.ts';
import {
  type CommandText,
  capital,
  escaped,
  explained,
  inSections,
  type OptionText,
  type SettingText,
  type Subject,
  type VariableText,
} from './reference.ts';

type Section = 1 | 5 | 7;

/** In the form that go-md2man takes: its first line is the page's title, `:` begins what a term means. */
function page(
  { version }: Subject,
  name: string,
  section: Section,
  sections: Readonly<Record<string, string>>,
): string {
  const manuals = { 1: 'User commands', 5: 'File formats', 7: 'Miscellanea' } as const;
  const body = Object.entries(sections)
    .filter(([, text]) => text !== '')
    .map(([heading, text]) => `# ${heading}\n\n${text.trim()}\n`)
    .join('\n');
  return `% ${name} ${section} "" "knockify ${version}" "${manuals[section]}"\n\n${body}`;
}

function defined(entries: readonly (readonly [term: string, meaning: string])[]): string {
  return entries.map(([term, meaning]) => `${term}\n:   ${meaning}\n`).join('\n');
}

/** `--socket <path>` with what is typed in bold and what stands for something in italics. */
function flags(text: string): string {
  return text.replace(/-[\w-]+/g, '**$&**').replace(/<([\w.-]+)>/g, '*$1*');
}

function usageOf({ name, usage }: CommandText): string {
  return `**knockify ${name}** ${usage.replace(/\[options\]/, '[*options*]').replace(/<(\w+)(\.*)>/g, '*$1*$2')}`;
}

function settingEntry(setting: VariableText & Partial<SettingText>): readonly [string, string] {
  const { name, description, rule, example, aliases = [] } = setting;
  const sentences = [
    description,
    `Value: ${rule}.`,
    `Default: ${setting.default}.`,
    `Example: ${name}=${example}`,
    ...(aliases.length === 0 ? [] : [`(Other names: ${aliases.join(', ')})`]),
  ];
  return [`**${escaped(name)}**`, escaped(sentences.join(' '))];
}

/** Paragraphs of one line each: to troff a line that begins with a quotation mark is a request, which go-md2man overlooks. */
function unfolded(text: string): string {
  return text.replace(/(\S)\n(?=\S)/g, '$1 ');
}

const pageOf = (name: string) => `**knockify-${name}**(1)`;
const COMMON = '**knockify**(1), **knockrc**(5), **libknockify.so**(7)';

function optionList(options: readonly OptionText[]): string {
  return defined(options.map((option) => [flags(option.flags), escaped(explained(option))]));
}

function subcommand({ name, summary, parameters, options }: CommandText): string {
  const heading = [`**${name}**`, ...parameters.map((one) => `*${one.name}*`)].join(' ');
  const operands = defined(parameters.map((one) => [`*${one.name}*`, escaped(one.description)]));
  const text = [`## ${heading}`, `${escaped(capital(summary))}.`, operands.trim(), optionList(options)];
  return text.filter((part) => part !== '').join('\n\n');
}

function commandPage(subject: Subject, command: CommandText): string {
  const { name, summary, parameters, options, after, commands } = command;
  return page(subject, `knockify-${name}`, 1, {
    NAME: `knockify-${name} - ${escaped(summary)}`,
    SYNOPSIS: [command, ...commands].map(usageOf).join('\n\n'),
    ARGUMENTS: defined(parameters.map((one) => [`*${one.name}*`, escaped(one.description)])),
    OPTIONS: optionList(options),
    COMMANDS: commands.map(subcommand).join('\n'),
    NOTES: escaped(unfolded(after)),
    'SEE ALSO': COMMON,
  });
}

function overview(subject: Subject): string {
  return page(subject, 'knockify', 1, {
    NAME: 'knockify - hide TCP servers from port scanners, and reach them',
    SYNOPSIS: '**knockify** *command* [*options*] [*arguments*]',
    DESCRIPTION: `
With TCP Stealth a server's port answers everybody as a closed port does, except a client whose first packet proves that it
knows a shared secret. The proof is that packet's sequence number; nothing is added to the connection. knockify does this
on the stock kernel for programs as they are: **libknockify.so**(7), preloaded, hands their sockets to a control process.

\`\`\`
knockify secret /etc/knockify.secret
knockify run --secret-file /etc/knockify.secret -- python3 -m http.server
knockify run --secret-file ~/knockify.secret -- curl http://server:8000/
\`\`\`

The secret has to be the same at both ends. Where the packaged systemd units are in use, **knockify.socket** starts the
control process when the first program needs it.`,
    COMMANDS: defined(
      subject.commands.map((command) => [pageOf(command.name), `${escaped(command.summary)}.`]),
    ),
    ENVIRONMENT: `${defined(subject.variables.map(settingEntry))}
The settings of **knockrc**(5) can be in the environment as well, and win there.`,
    FILES: defined([
      ['*~/.knockrc*', 'the settings of a user: **knockrc**(5)'],
      ['*/etc/knockify/secrets.d*', 'the named secrets of a server: **knockify-secret**(1)'],
      ['*/run/knockify/control.sock*', "the control process's socket"],
    ]),
    'EXIT STATUS': '0 for success, 1 where something is missing or fails, 2 for a mistake in what was asked.',
    'SEE ALSO': [...subject.commands.map(({ name }) => pageOf(name)), COMMON.replace(/^[^,]*, /, '')].join(
      ', ',
    ),
  });
}

function rcExample({ settings, section }: Subject): string {
  const line = ({ name, example }: SettingText) => `${name}=${example}`;
  return [
    ...settings.map(line),
    '',
    section.example,
    ...settings.filter((one) => one.inSections).map(line),
  ].join('\n');
}

function rcPage(subject: Subject): string {
  return page(subject, 'knockrc', 5, {
    NAME: 'knockrc - settings of TCP Stealth for one user',
    SYNOPSIS: '*~/.knockrc*, or the file that **KNOCK\\_RC** names',
    DESCRIPTION: `
One *KEY*=*VALUE* a line. Blank lines and lines that begin with # don't count. There are no quotes, and no comments behind a
value: everything after the first = is the value. Blanks around a key, and around a value that is not a secret, don't count.
A secret that begins or ends with a blank is refused.

The file must belong to its user or to root, and nobody else may be able to read or write it. A key that is not known, one
that is set twice and an empty value are errors: stealth sockets then fail, and everything else goes on.

The same names in the environment win over the file.`,
    KEYS: defined(subject.settings.map(settingEntry)),
    SECTIONS: escaped(
      `${subject.section.description} A section begins with ${subject.section.rule}. In it there may be ${inSections(subject.settings)}.`,
    ),
    EXAMPLE: `\`\`\`\n${rcExample(subject)}\n\`\`\``,
    'SEE ALSO': '**knockify**(1), **knockify-secret**(1), **libknockify.so**(7)',
  });
}

function overridden(list: readonly CallSpec[]): string {
  const names = list.filter(({ name }) => !name.startsWith('__')).map(({ name }) => `**${escaped(name)}**`);
  return names.join(', ');
}

function libraryPage(subject: Subject): string {
  const variables = subject.variables.filter(({ name }) => name !== 'KNOCK_ENGINE');
  return page(subject, 'libknockify.so', 7, {
    NAME: 'libknockify.so - TCP Stealth for programs as they are',
    SYNOPSIS: '**LD\\_PRELOAD=libknockify.so KNOCK\\_SECRET=f:***file* *command*...',
    DESCRIPTION: `
Preloaded into a program, the library hands the sockets that the program connects or listens on to the control process,
which gives a connection its stealth sequence number, or puts a guard in front of the listener. The program needs no
privilege. If anything is missing the call fails with EPROTONOSUPPORT, and a line on standard error says what to do; it
never falls back to an ordinary connection or an unguarded listener.

Programs written for kernels with the Knock patch, which set TCP\\_STEALTH and its companions with **setsockopt**(2), run
under the library as they are, or linked with it.`,
    ENVIRONMENT: `${defined([...subject.settings, ...variables].map(settingEntry))}
All but ${variables.map(({ name }) => escaped(name)).join(' and ')} can also be in **knockrc**(5).`,
    'OVERRIDDEN CALLS': `${overridden(calls)}.`,
    LIMITS: `
Static programs, Go programs that use no C library, set-user-id programs and io\\_uring are out of a preloaded library's reach.
A socket that listens already when the program gets it, from socket activation for instance, answers everybody until the
program has started once, and has its guard from then on; with Accept=yes the program never has it, and it stays open.
**knockify-run**(1) refuses what it recognises; **ld.so**(8) on its own runs such programs without protection.`,
    'SEE ALSO': '**knockify**(1), **knockify-control**(1), **knockrc**(5), **ld.so**(8)',
  });
}

/** The manual pages, by their path in the repository. */
export function buildManual(subject: Subject): Record<string, string> {
  const commands = subject.commands.map((command) => [
    `docs/man/knockify-${command.name}.1.md`,
    commandPage(subject, command),
  ]);
  return {
    'docs/man/knockify.1.md': overview(subject),
    'docs/man/knockrc.5.md': rcPage(subject),
    'docs/man/libknockify.so.7.md': libraryPage(subject),
    ...Object.fromEntries(commands),
  };
}
