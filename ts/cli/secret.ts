import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { NAME_RULE, parseDuration } from '../config/secretNames.ts';
import { type FolderContents, readFolder, wipe } from '../control/secretFolder.ts';
import { refusalText } from '../control/secretWatch.ts';
import { fingerprint, SECRET_BYTES } from '../stealth/secret.ts';
import { DEFAULT_SECRETS } from './environment.ts';
import { SecretFolder } from './namedSecret.ts';
import { oneLineErrors, orFail } from './oneLineErrors.ts';
import { makeSecret } from './secretFile.ts';

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
    orFail(command, () => {
      const path = resolve(file);
      process.stdout.write(usage(path, makeSecret(path, options.force === true)));
    }),
  );
  registerNamed(command);
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
    orFail(add, () => {
      const folder = new SecretFolder(secrets);
      const print = folder.add(name);
      process.stdout.write(handOut(folder.fileOf(name), print));
    }),
  );

  const list = named('list', 'show the secrets with a name, and what is refused');
  list.action(({ secrets }: Named) =>
    orFail(list, () => {
      const { text, refused } = listing(resolve(secrets));
      process.stdout.write(text);
      process.exitCode = refused ? 1 : 0;
    }),
  );

  const revoke = named('revoke', 'take a secret away: new connections with it meet a closed port', [
    '<name>',
    'of the secret',
  ]);
  revoke.action((name: string, { secrets }: Named) =>
    orFail(revoke, () => {
      new SecretFolder(secrets).revoke(name);
      process.stdout.write(`${name} is revoked; connections that are established go on\n`);
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
    orFail(rotate, () => {
      const folder = new SecretFolder(secrets);
      const { print, until } = folder.rotate(name, parseDuration(keepOld));
      const old = until === undefined ? 'is not valid any more' : `is valid until ${timeText(until)}`;
      process.stdout.write(`${handOut(folder.fileOf(name), print)}the old one ${old}\n`);
    }),
  );
}

function timeText(time: number): string {
  return new Date(time).toISOString().replace(/\.\d+/, '');
}

function handOut(path: string, print: string): string {
  return `fingerprint ${print}\nGive the client a copy of ${path} by a safe way.\n`;
}

/** The folder as the control process sees it if it runs as the folder's owner. */
function listing(path: string): { readonly text: string; readonly refused: boolean } {
  const user = statSync(path).uid;
  const contents = readFolder(path, { user, now: Date.now() });
  try {
    return { text: table(contents), refused: contents.refused.length > 0 };
  } finally {
    wipe(contents.found);
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
  const quoted = /^[\w./@%+=:,-]+$/.test(setting) ? setting : `'${setting.replaceAll("'", "'\\''")}'`;
  return [
    `fingerprint ${print}`,
    `In the environment, at both ends:  export ${quoted}`,
    `Or as a line in ~/.knockrc:        ${setting}`,
    '',
  ].join('\n');
}
