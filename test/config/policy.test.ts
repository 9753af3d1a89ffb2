import { describe, expect, test } from 'vitest';
import { checkPrivate } from '../../ts/config/access.ts';
import { ConfigError } from '../../ts/config/error.ts';
import {
  buildListenerPolicy,
  buildPolicy,
  type ListenerPolicy,
  type Loan,
  POLICY_KEYS,
  type Policy,
} from '../../ts/config/policy.ts';
import type { SecretSource, Settings } from '../../ts/config/settings.ts';
import { ALL_TARGETS } from '../../ts/config/targets.ts';
import { padSecret } from '../../ts/stealth/secret.ts';

const OWN: SecretSource = { kind: 'bytes', bytes: padSecret(Buffer.from('own')) };
const FILE: SecretSource = {
  kind: 'file',
  path: '/s',
  pathBytes: Buffer.from('/s'),
  origin: 'environment',
};
const NOTHING: Settings = {
  secret: undefined,
  protectedLength: undefined,
  replay: undefined,
  targets: undefined,
  logLevel: undefined,
  timeout: undefined,
  sections: [],
  targetsFixed: false,
};
const LENT: Policy = {
  secret: padSecret(Buffer.from('lent')),
  protectedLength: 28,
  replay: 'allow',
  targets: [{ port: 22 }],
  logLevel: 3,
};
const DEFAULTS = { protectedLength: 0, replay: 'reject', targets: ALL_TARGETS, logLevel: 1 } as const;

test('POLICY_KEYS has every name and alias once', () => {
  expect([...POLICY_KEYS].sort()).toEqual(
    [
      'KNOCK_INTEGRITY_LEN',
      'KNOCK_INTLEN',
      'KNOCK_INT_LEN',
      'KNOCK_LOGLVL',
      'KNOCK_REPLAY',
      'KNOCK_SECRET',
      'KNOCK_TARGETS',
      'KNOCK_TIMEOUT',
    ].sort(),
  );
});

describe('buildPolicy', () => {
  const ownSecret = padSecret(Buffer.from('own'));
  test.each<{
    description: string;
    own: Partial<Settings>;
    file?: string;
    fallback?: Policy;
    expected: Policy;
  }>([
    {
      description: 'own secret alone: everything else is the default',
      own: { secret: OWN },
      expected: { ...DEFAULTS, secret: ownSecret },
    },
    {
      description: "own secret never goes with another's protected length, targets or word on replays",
      own: { secret: OWN },
      fallback: LENT,
      expected: { ...DEFAULTS, secret: ownSecret },
    },
    {
      description: "a secret in one's own file neither",
      own: { secret: FILE, protectedLength: 4 },
      file: 'own',
      fallback: LENT,
      expected: { ...DEFAULTS, secret: ownSecret, protectedLength: 4 },
    },
    {
      description: 'a lent secret brings its protected length and targets, not its log level',
      own: {},
      fallback: LENT,
      expected: { ...LENT, logLevel: 1 },
    },
    {
      description: 'what the application sets itself wins over what is lent',
      own: { protectedLength: 0, replay: 'reject', targets: [{ port: 80 }], logLevel: 2 },
      fallback: LENT,
      expected: {
        secret: LENT.secret,
        protectedLength: 0,
        replay: 'reject',
        targets: [{ port: 80 }],
        logLevel: 2,
      },
    },
  ])('$description', ({ own, file, fallback, expected }) => {
    const contents = file === undefined ? undefined : Buffer.from(file);
    expect(buildPolicy({ ...NOTHING, ...own }, contents, fallback)).toEqual(expected);
  });

  test('the bytes of a file count as they are', () => {
    const policy = buildPolicy({ ...NOTHING, secret: FILE }, Buffer.from('h:00\n'));
    expect(policy.secret).toEqual(padSecret(Buffer.from('h:00\n')));
  });

  test.each([
    {
      description: 'no secret anywhere',
      secret: undefined,
      file: undefined,
      contains: ['KNOCK_SECRET', '~/.knockrc', 'control process'],
    },
    {
      description: 'an empty file',
      secret: FILE,
      file: [],
      contains: ['KNOCK_SECRET (environment)', '/s', 'empty'],
    },
    { description: 'a file of zeros', secret: FILE, file: new Array(80).fill(0), contains: ['/s', 'zero'] },
    {
      description: 'a file that nobody read',
      secret: FILE,
      file: undefined,
      contains: ['/s', 'handed over'],
    },
  ])('refuses $description', ({ secret, file, contains }) => {
    const build = () => buildPolicy({ ...NOTHING, secret }, file && Uint8Array.from(file), secret && LENT);
    expect(build).toThrow(ConfigError);
    for (const piece of contains) expect(build).toThrow(piece);
  });
});

describe('buildListenerPolicy', () => {
  const ownSecret = padSecret(Buffer.from('own'));
  const [none, some] = [{ size: 0 }, { size: 1 }];
  const secretless: Loan = { ...LENT, secret: undefined };

  test.each<{
    description: string;
    own: Partial<Settings>;
    loan?: Loan;
    named?: { size: number };
    expected: ListenerPolicy;
  }>([
    {
      description: 'a secret of its own is the only one that counts',
      own: { secret: OWN },
      loan: LENT,
      named: some,
      expected: { ...DEFAULTS, secret: ownSecret, named: false },
    },
    {
      description: 'without one, the named ones, and what the control process says of the rest',
      own: {},
      loan: secretless,
      named: some,
      expected: { ...secretless, named: true, logLevel: 1 },
    },
    {
      description: "beside the control process's own",
      own: { protectedLength: 4 },
      loan: LENT,
      named: some,
      expected: { ...LENT, named: true, protectedLength: 4, logLevel: 1 },
    },
    {
      description: 'also those that may be added later, where somebody gets in already',
      own: {},
      loan: LENT,
      named: none,
      expected: { ...LENT, named: true, logLevel: 1 },
    },
    {
      description: 'no named ones where there is no place for them',
      own: {},
      loan: LENT,
      expected: { ...LENT, named: false, logLevel: 1 },
    },
  ])('$description', ({ own, loan, named, expected }) => {
    expect(buildListenerPolicy({ ...NOTHING, ...own }, undefined, loan, named)).toEqual(expected);
  });

  test.each([undefined, none])('refuses a listener that nobody could reach', (named) => {
    const build = () => buildListenerPolicy(NOTHING, undefined, secretless, named);
    expect(build).toThrow(ConfigError);
    expect(build).toThrow('there is no secret');
  });

  test('a client gets none of the named ones', () => {
    expect(() => buildPolicy(NOTHING, undefined, secretless)).toThrow('there is no secret');
  });
});

describe('checkPrivate', () => {
  const uid = 1000;
  test.each([
    { mode: 0o100600, uid },
    { mode: 0o100400, uid },
    { mode: 0o100711, uid },
    { mode: 0o100600, uid: 0 },
    { mode: 0o600, uid },
  ])('accepts $mode of user $uid', (stat) => {
    expect(() => checkPrivate('/home/u/.knockrc', stat, uid)).not.toThrow();
  });

  test.each([
    {
      description: 'readable by group',
      mode: 0o100640,
      uid,
      contains: ['0640', 'chmod 600 /home/u/.knockrc'],
    },
    { description: 'writable by group', mode: 0o100620, uid, contains: ['0620', 'chmod 600'] },
    { description: 'readable by others', mode: 0o100604, uid, contains: ['0604', 'chmod 600'] },
    { description: 'writable by others', mode: 0o100602, uid: 0, contains: ['0602', 'chmod 600'] },
    { description: "somebody else's", mode: 0o100600, uid: 1001, contains: ['user 1001', 'chown 1000'] },
  ])('refuses what is $description', ({ mode, uid: owner, contains }) => {
    const check = () => checkPrivate('/home/u/.knockrc', { mode, uid: owner }, uid);
    expect(check).toThrow(ConfigError);
    for (const piece of ['/home/u/.knockrc: ', ...contains]) expect(check).toThrow(piece);
  });

  test('root, too, refuses the file of an ordinary user', () => {
    expect(() => checkPrivate('/x', { mode: 0o600, uid }, 0)).toThrow('neither');
  });

  test('the remedy can be pasted into a shell', () => {
    expect(() => checkPrivate("/a b/it's", { mode: 0o644, uid }, uid)).toThrow("chmod 600 '/a b/it'\\''s'");
  });
});
