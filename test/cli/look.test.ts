import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { commandLine } from '../../ts/cli/commands.ts';
import { folded, pageOf, painted } from '../../ts/cli/terminal.ts';
import { KNOCKIFY, startControl } from '../lab/control.ts';
import { inside, type Lab, openLab } from '../lab/netns.ts';
import { finish, type Program, run, start, untilSays } from '../lab/program.ts';
import { ORDINARY_USER } from './ordinaryUser.ts';

/** What people see on a terminal of 80 columns. */

const COLUMNS = 80;
const SECRET = 'a secret that nobody sees';
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const CONTROLS = /\u001b\[[0-9;]*[A-Za-z]|\r/g;

let lab: Lab;
beforeAll(() => {
  lab = openLab();
  inside(lab.server, [
    'nft',
    'table inet gone { chain in { type filter hook input priority 0; tcp dport 9 drop; }; }',
  ]);
});
afterAll(() => lab?.close());

const commandOf = (args: readonly string[]) => [process.execPath, KNOCKIFY, ...args];

/** On a terminal, by script(1). */
function startOnTerminal(
  args: readonly string[],
  before: readonly string[] = [],
  env: Record<string, string> = {},
): Program {
  const words = [...before, ...commandOf(args)].map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  const command = ['script', '-qec', `stty cols ${COLUMNS} rows 24; ${words.join(' ')}`, '/dev/null'];
  return start(lab.client, command, { env: { TERM: 'xterm', KNOCK_SECRET: SECRET, ...env } });
}

/** Everything that was written there. */
async function writtenBy(program: Program): Promise<string> {
  const { stdout } = await finish(program);
  return stdout.replaceAll('\r\n', '\n');
}

const onTerminal = (...how: Parameters<typeof startOnTerminal>) => writtenBy(startOnTerminal(...how));

/** The same of a command that goes on until Ctrl-C, which comes when `meanwhile` is over. */
async function onTerminalUntil(
  args: readonly string[],
  meanwhile: (program: Program) => Promise<void>,
): Promise<string> {
  const pid = `${lab.directory}/pid`;
  const program = startOnTerminal(args, ['sh', '-c', 'echo $$ >"$0"; exec "$@"', pid]);
  await meanwhile(program);
  process.kill(Number(readFileSync(pid, 'utf8')), 'SIGINT');
  return writtenBy(program);
}

/** Those that are too long though they could have been broken. */
const tooLong = (text: string) =>
  text
    .replaceAll(CONTROLS, '')
    .split('\n')
    .filter((line) => line.length > COLUMNS && line.trim().includes(' '));

/** Of every command there is, and of commands of commands. */
function helps(commands: readonly Command[], before: readonly string[] = []): string[][] {
  return commands.flatMap((command) => {
    const words = [...before, command.name()];
    return [[...words, '--help'], ...helps(command.commands, words)];
  });
}
const HELP = helps(commandLine().commands);
const MISTAKES = [
  ['nonsense'],
  ['--nonsense'],
  ['run'],
  ['run', '--intlen', '5000', 'true'],
  ['run', '--', 'no-such-program'],
  ['check', 'x'],
  ['check', '--listen', 'x'],
  ['control', '--mode', '9'],
  ['status', '--interval', 'x'],
  ['status', '--socket', '/run/no-such-directory-there-is-not-one-at-all/control.sock'],
  ['events', 'x'],
  [
    'control',
    '--group',
    'no-such-group-there-is-not-one-at-all',
    '--socket',
    '/dev/null/deeper/control.sock',
  ],
  ['secret'],
  ['isn', '--dest', 'server', '--port', '1'],
  ['isn', '--dest', '::1', '--port', 'x'],
];
const WORK = [
  ['doctor'],
  ['check', '192.0.2.2', '8009'],
  ['check', '203.0.113.9', '22'],
  ['check', 'no-such-host.invalid', '22'],
  ['isn', '--dest', '::1', '--port', '9'],
];

describe('80 columns hold', () => {
  test.each([[], ['--help'], ...HELP].map((words) => [words] as const))(
    'the help of knockify %s',
    async (args) => {
      const text = await onTerminal(args);
      expect(text).toContain('Usage:');
      expect(tooLong(text)).toEqual([]);
    },
  );

  test.each(MISTAKES)('the mistake in knockify %s %s %s', async (...args) => {
    const text = await onTerminal(args.filter((arg) => arg !== undefined));
    expect(text).toMatch(/^knockify(?: \w+)?: /);
    expect(tooLong(text)).toEqual([]);
  });

  test('a command that is misspelt gets a suggestion', async () => {
    expect(await onTerminal(['stat'])).toBe(
      "knockify: unknown command 'stat' (did you mean status?); see: knockify --help\n",
    );
  });

  test.each(WORK)('what knockify %s says of its work', async (...args) => {
    const text = await onTerminal(args.filter((arg) => arg !== undefined));
    expect(text).not.toContain(SECRET);
    expect(tooLong(text)).toEqual([]);
  });

  test('what knockify secret says', async () => {
    const path = `${lab.directory}/the-secret-of-the-two`;
    const text = await onTerminal(['secret', path]);
    expect(text).toContain(`\n  KNOCK_SECRET=f:${path}\n`);
    expect(tooLong(text)).toEqual([]);
  });

  test('what the other end of a path check says', async () => {
    const text = await onTerminalUntil(['check', '--listen', '7777'], (program) =>
      untilSays(program, 'ends it'),
    );
    expect(text).toMatch(/^open to everybody: port 7777, .*\n {2}ends it\n/);
    expect(tooLong(text)).toEqual([]);
  });

  test('what an ordinary user is told', async () => {
    const env = { KNOCK_SECRET: 'f:/nonexistent/but/with/quite/a/long/name/of/a/file/that/is/nowhere' };
    const text = await onTerminal(['doctor'], ORDINARY_USER, env);
    expect(text.replaceAll(CONTROLS, '')).toContain(
      "\n    → start 'knockify control' as root, or this as root\n",
    );
    expect(tooLong(text)).toEqual([]);
  });
});

describe('colours', () => {
  const coloured = (text: string) => text.includes('\u001b[');

  test.each([['doctor'], ['check', '192.0.2.2', '8009'], ['--help']])(
    'are on a terminal: %s',
    async (...args) => {
      const words = args.filter((arg) => arg !== undefined);
      expect(coloured(await onTerminal(words))).toBe(true);
      expect(coloured(await onTerminal(words, [], { NO_COLOR: '1' }))).toBe(false);
    },
  );

  test('are not where somebody else reads', async () => {
    for (const args of [['doctor'], ['check', '192.0.2.2', '8009'], ['--help']]) {
      const { stdout, stderr } = await run(lab.client, commandOf(args), {
        env: { KNOCK_SECRET: SECRET, TERM: 'xterm' },
      });
      expect(coloured(stdout + stderr)).toBe(false);
    }
  });

  test.each([
    [{ isTTY: true }, {}, true],
    [{ isTTY: true }, { NO_COLOR: '' }, true],
    [{ isTTY: true }, { NO_COLOR: '0' }, false],
    [{ isTTY: true }, { TERM: 'dumb' }, false],
    [{}, {}, false],
  ])('of %o with %o: %s', (stream, env, colours) => {
    const page = pageOf(stream, env);
    expect(page.colours).toBe(colours);
    expect(painted(page, 'red', 'x')).toBe(colours ? '\u001b[31mx\u001b[39m' : 'x');
  });
});

describe('what takes its time', () => {
  const WAITING = 'waiting for an answer to a plain SYN';

  test('is a control process that hangs', async () => {
    const control = await startControl(lab, lab.server);
    control.program.child.kill('SIGSTOP');
    const text = await onTerminal(['status', '--socket', control.socket]);
    control.program.child.kill('SIGCONT');
    await control.stop();
    expect(text).toMatch(/waiting for the control process \([2-9] s\)/);
    expect(text.replaceAll(CONTROLS, '')).toMatch(/does\s+not\s+answer\s+within\s+5\s+s;\s+restart\s+it\n$/);
    expect(tooLong(text.slice(text.lastIndexOf('\r')))).toEqual([]);
  });

  test('is an event that does not come yet, or a control process that is gone', async () => {
    const control = await startControl(lab, lab.server);
    const events = ['events', '--socket', control.socket];
    const followed = await onTerminalUntil(events, async (program) => {
      await untilSays(program, 'following what comes');
      await control.stop();
      await untilSays(program, 'has ended');
    });
    expect(followed.replaceAll(CONTROLS, '')).toBe(
      'following what comes to guarded listeners; Ctrl-C ends it\nthe control process has ended; waiting for the next one\n',
    );
  });

  test('says so after two seconds, and takes it back', async () => {
    const text = await onTerminal(['check', '192.0.2.2', '9', '--timeout', '3']);
    expect(text).toMatch(new RegExp(`${WAITING} \\([2-9] s\\)`));
    expect(text.slice(text.lastIndexOf(' s)')).startsWith(' s)\r\u001b[K')).toBe(true);
  });

  test('and only then, and only on a terminal', async () => {
    expect(await onTerminal(['check', '192.0.2.2', '9', '--timeout', '1'])).not.toContain(WAITING);
    const { stderr } = await run(lab.client, commandOf(['check', '192.0.2.2', '9', '--timeout', '3']), {
      env: { KNOCK_SECRET: SECRET },
    });
    expect(stderr).toBe('');
  });
});

describe('folding', () => {
  const page = { columns: 12, colours: false };

  test.each([
    ['fits', 'one two', 'one two'],
    ['is broken at blanks', 'one two three', 'one two\nthree'],
    ['fits to the last column', 'one two four', 'one two four'],
    ['keeps its own lines', 'one\ntwo', 'one\ntwo'],
    ['keeps what is too long whole', 'a /very/long/path b', 'a\n/very/long/path\nb'],
  ])('what %s', (_, text, expected) => {
    expect(folded(page, text)).toBe(expected);
  });

  test('goes on under what leads', () => {
    expect(folded(page, 'one two three', { text: '- ' })).toBe('- one two\n  three');
    expect(folded(page, 'one two three', { text: '\u001b[1mab\u001b[22m: ', width: 4, indent: 1 })).toBe(
      '\u001b[1mab\u001b[22m: one two\n three',
    );
  });

  test('leaves the text as it is where nobody looks', () => {
    expect(folded({ columns: undefined, colours: false }, 'one  two\nthree', { text: '- ' })).toBe(
      '- one  two\nthree',
    );
  });
});
