import { timingSafeEqual } from 'node:crypto';
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { quoted } from '../config/access.ts';
import { NAME_RULE, parseDuration } from '../config/secretNames.ts';
import { type FolderContents, readFolder, wipe, withoutTwins } from '../control/secretFolder.ts';
import { refusalText } from '../control/secretWatch.ts';
import { fingerprint, SECRET_BYTES } from '../stealth/secret.ts';
import { DEFAULT_SECRETS } from './environment.ts';
import { SecretFolder } from './namedSecret.ts';
import { oneLineErrors, orFail } from './oneLineErrors.ts';
import { inWords, makeSecret } from './secretFile.ts';

const KEEP_OLD = '24h';

/** Adds `knockify secret`: a new shared secret in a file of one's own, or named ones in the control process's folder. */
export function register(program: Command): void {
  const command = oneLineErrors(program.command('secret'))
    .description(
      `write a random ${SECRET_BYTES}-byte secret to a file that only you can read, print its fingerprint`,
    )
    .argument('<file>', 'the file to make; copy it to the other end over a safe way')
    .option('--force', 'replace the file if there is one: whoever uses the old secret is locked out')
    .allowExcessArguments(false);
  command.action((file: string, options: { force?: true }) =>
    attempt(command, () => {
      const path = resolve(file);
      process.stdout.write(usage(path, makeSecret(path, options.force === true)));
    }),
  );
  registerNamed(command);
}

/** Does a command's work; what goes wrong becomes one line that says what to do. */
function attempt(command: Command, work: () => void): void {
  orFail(command, () => {
    try {
      work();
    } catch (error) {
      throw inWords(error);
    }
  });
}

interface Named {
  readonly secrets: string;
}

/** The commands for a folder of named secrets. */
function registerNamed(parent: Command): void {
  const named = (name: string, description: string, ...operands: [string, string][]) => {
    const command = oneLineErrors(parent.command(name)).description(description);
    for (const [operand, meaning] of operands) command.argument(operand, meaning);
    return command
      .option('--secrets <dir>', 'the folder of named secrets', DEFAULT_SECRETS)
      .allowExcessArguments(false);
  };

  const add = named('add', 'make a secret with a name, for one client or one group of them', [
    '<name>',
    NAME_RULE,
  ]);
  add.action((name: string, { secrets }: Named) =>
    attempt(add, () => {
      const folder = new SecretFolder(secrets);
      const print = folder.add(name);
      process.stdout.write(handOut(folder.fileOf(name), print));
    }),
  );

  const list = named('list', 'show the secrets with a name, and what is refused');
  list.action(({ secrets }: Named) =>
    attempt(list, () => {
      const folder = new SecretFolder(secrets);
      // As for the control process, which goes without the usual one.
      if (list.getOptionValueSource('secrets') !== 'default') folder.assertThere();
      const { text, refused } = listing(folder);
      process.stdout.write(text);
      process.exitCode = refused ? 1 : 0;
    }),
  );

  const revoke = named('revoke', 'take a secret away: new connections with it meet a closed port', [
    '<name>',
    'of the secret',
  ]);
  revoke.action((name: string, { secrets }: Named) =>
    attempt(revoke, () => {
      const folder = new SecretFolder(secrets);
      const twins = twinsOf(folder, name);
      folder.revoke(name);
      process.stdout.write(`${name} is revoked; connections that are established go on\n`);
      assertAlone(twins);
    }),
  );

  const rotate = named('rotate', 'replace a secret, and keep the old one valid for a while', [
    '<name>',
    'of the secret',
  ]).option(
    '--keep-old <time>',
    'how long the old one counts, as in 90s, 30m, 24h or 7d; with 0 not at all, and older ones neither',
    KEEP_OLD,
  );
  rotate.action((name: string, { secrets, keepOld }: Named & { keepOld: string }) =>
    attempt(rotate, () => {
      const folder = new SecretFolder(secrets);
      const twins = twinsOf(folder, name);
      const { print, until } = folder.rotate(name, parseDuration(keepOld));
      const old = until === undefined ? 'is not valid any more' : `is valid until ${timeText(until)}`;
      process.stdout.write(`${handOut(folder.fileOf(name), print)}the old one ${old}\n`);
      assertAlone(twins);
    }),
  );
}

function timeText(time: number): string {
  return new Date(time).toISOString().replace(/\.\d+/, '');
}

function handOut(path: string, print: string): string {
  return `fingerprint ${print}\nGive the client a copy of ${path} by a safe way.\n`;
}

/** Under what other names the same secret, or one that it replaced, is in the folder. */
function twinsOf({ path, missing }: SecretFolder, name: string): string[] {
  if (missing !== undefined) return [];
  const { found } = readFolder(path, { user: statSync(path).uid, now: Date.now() });
  try {
    const own = found.filter((one) => one.name === name);
    const twins = found.filter(
      (one) => one.name !== name && own.some(({ secret }) => timingSafeEqual(secret, one.secret)),
    );
    return [...new Set(twins.map((one) => one.name))];
  } finally {
    wipe(found);
  }
}

/** Or else the secret is accepted by that name from now on. */
function assertAlone(twins: readonly string[]): void {
  if (twins.length === 0) return;
  throw new Error(`the same secret is there as ${twins.join(', ')}, and accepted; revoke that, too`);
}

/** The folder as the control process sees it if it runs as the folder's owner. */
function listing(folder: SecretFolder): { readonly text: string; readonly refused: boolean } {
  const { path, missing } = folder;
  if (missing !== undefined) return { text: `no secrets: ${missing}\n`, refused: false };
  const user = statSync(path).uid;
  const { found, refused } = readFolder(path, { user, now: Date.now() });
  const problems = [...refused];
  try {
    const text = table({ found: withoutTwins(path, found, problems), refused: problems });
    return { text, refused: problems.length > 0 };
  } finally {
    wipe(found);
  }
}

function table({ found, refused }: FolderContents): string {
  const width = Math.max(4, ...found.map(({ name }) => name.length));
  const row = (name: string, print: string, state: string) =>
    `${name.padEnd(width)}  ${print.padEnd(14)}  ${state}`.trimEnd();
  const rows = found
    .toSorted((one, other) => (one.name < other.name ? -1 : one.name > other.name ? 1 : 0))
    .map(({ name, until, secret }) =>
      row(name, fingerprint(secret), until === undefined ? 'valid' : `old, valid until ${timeText(until)}`),
    );
  const lines = [
    found.length === 0 ? 'no secrets' : row('NAME', 'FINGERPRINT', 'STATE'),
    ...rows,
    ...refused.map((one) => `!! ${refusalText(one)}`),
  ];
  return `${lines.join('\n')}\n`;
}

function usage(path: string, print: string): string {
  const setting = `KNOCK_SECRET=f:${path}`;
  return [
    `fingerprint ${print}`,
    'Copy it to the other end by a safe way. Then, at both ends, in the environment:',
    `  export ${quoted(setting)}`,
    'or as a line in ~/.knockrc:',
    `  ${setting}`,
    '',
  ].join('\n');
}
