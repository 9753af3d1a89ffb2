import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigError } from '../../ts/config/error.ts';
import { POLICY_KEYS } from '../../ts/config/policy.ts';
import { type RawSettings, readSettings, type Settings } from '../../ts/config/settings.ts';

type Text = string | Uint8Array;
const bytesOf = (text: Text) => (typeof text === 'string' ? Buffer.from(text) : text);

function raw(env: Record<string, Text>, rc?: Text): RawSettings {
  return {
    env: new Map(Object.entries(env).map(([key, value]) => [key, bytesOf(value)])),
    rc: rc === undefined ? undefined : { path: '/home/u/.knockrc', text: bytesOf(rc) },
  };
}

const read = (env: Record<string, Text>, rc?: Text): Settings => readSettings(raw(env, rc));

/** What reading throws; anything but a ConfigError fails the test. */
function refusal(env: Record<string, Text>, rc?: Text): string {
  try {
    read(env, rc);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message;
  }
  throw new Error('it was accepted');
}

const secretHex = ({ secret }: Settings) =>
  secret?.kind === 'bytes'
    ? Buffer.from(secret.bytes)
        .toString('hex')
        .replace(/(00)+$/, '')
    : secret?.path;

describe('forms of KNOCK_SECRET', () => {
  test.each<{ description: string; input: Text; expected: string }>([
    { description: 'text', input: 'abc', expected: '616263' },
    { description: 'text with what looks like quotes and blanks', input: ' "a" ', expected: '2022612220' },
    { description: 'text that begins like a form', input: 'hx:f:', expected: '68783a663a' },
    { description: 'upper case H: is text', input: 'H:00', expected: '483a3030' },
    { description: 'bytes that are not UTF-8', input: Uint8Array.of(0xff, 0xfe, 0x80), expected: 'fffe80' },
    { description: 'hex of either case', input: 'h:00aBCdef', expected: '00abcdef' },
    { description: 'longest hex', input: `h:${'5a'.repeat(64)}`, expected: '5a'.repeat(64) },
    { description: 'longer hex is cut', input: `h:${'5a'.repeat(70)}`, expected: '5a'.repeat(64) },
    { description: 'longer text is cut', input: 'z'.repeat(65), expected: '7a'.repeat(64) },
    { description: 'file', input: 'f:/a b/ü', expected: '/a b/ü' },
  ])('$description', ({ input, expected }) => {
    expect(secretHex(read({ KNOCK_SECRET: input }))).toBe(expected);
  });

  test('a file name keeps its bytes and where it came from', () => {
    const name = Uint8Array.of(0x2f, 0xff);
    const line = Buffer.concat([Buffer.from('\nKNOCK_SECRET=f:'), name]);
    expect(read({}, line).secret).toEqual({
      kind: 'file',
      path: '/\ufffd',
      pathBytes: name,
      origin: '/home/u/.knockrc:2',
    });
  });

  test.each([
    { description: 'empty', input: '', why: 'it is empty' },
    { description: 'no hex digits', input: 'h:', why: 'no hex digits' },
    { description: 'odd hex', input: 'h:abc', why: 'odd' },
    { description: 'a character next to the digits', input: 'h:0g', why: 'other than hex' },
    {
      description: 'a character that case folding makes a digit',
      input: 'h:\u0001\u0011',
      why: 'other than hex',
    },
    { description: '0x', input: 'h:0x41', why: 'other than hex' },
    { description: 'hex of zeros', input: 'h:0000', why: 'zero bytes' },
    { description: 'hex of 64 zeros and more', input: `h:${'00'.repeat(64)}01`, why: 'zero bytes' },
    { description: 'no file name', input: 'f:', why: 'no file name' },
    { description: 'a zero byte in a file name', input: 'f:/a\0b', why: 'zero byte' },
  ])('refuses $description', ({ input, why }) => {
    const message = refusal({ KNOCK_SECRET: input });
    expect(message).toContain('KNOCK_SECRET (environment): ');
    expect(message).toContain(why);
    expect(message).toContain('must be h:');
  });
});

describe('numbers and targets', () => {
  test('nothing set', () => {
    const nothing = {
      secret: undefined,
      protectedLength: undefined,
      replay: undefined,
      targets: undefined,
      logLevel: undefined,
      timeout: undefined,
      sections: [],
      targetsFixed: false,
    };
    expect(read({})).toEqual(nothing);
    expect(read({ PATH: '/bin', KNOCK_CONTROL: '/run/x' }, '')).toEqual(nothing);
  });

  test.each([
    ['KNOCK_INTLEN', '0', 'protectedLength', 0],
    ['KNOCK_INTLEN', '1024', 'protectedLength', 1024],
    ['KNOCK_INTEGRITY_LEN', '007', 'protectedLength', 7],
    ['KNOCK_INT_LEN', '9', 'protectedLength', 9],
    ['KNOCK_LOGLVL', '0', 'logLevel', 0],
    ['KNOCK_LOGLVL', '3', 'logLevel', 3],
    ['KNOCK_TARGETS', ':22', 'targets', [{ port: 22 }]],
    ['KNOCK_TIMEOUT', '60', 'timeout', 60],
    ['KNOCK_REPLAY', 'allow', 'replay', 'allow'],
    ['KNOCK_REPLAY', 'reject', 'replay', 'reject'],
  ] as const)('%s=%s', (key, value, field, expected) => {
    expect(read({ [key]: value })[field]).toEqual(expected);
  });

  test.each([
    ['KNOCK_REPLAY', 'Allow', 'neither', 'allow or reject'],
    ['KNOCK_INTLEN', '1025', 'out of range', 'from 0 to 1024'],
    ['KNOCK_INT_LEN', '-1', 'not a whole number', 'from 0 to 1024'],
    ['KNOCK_INTLEN', '4k', 'not a whole number', 'from 0 to 1024'],
    ['KNOCK_INTLEN', '0x10', 'not a whole number', 'from 0 to 1024'],
    ['KNOCK_INTLEN', ' 4', 'not a whole number', 'from 0 to 1024'],
    ['KNOCK_INTLEN', '', 'empty', 'from 0 to 1024'],
    ['KNOCK_LOGLVL', '4', 'out of range', 'from 0 to 3'],
    ['KNOCK_LOGLVL', 'debug', 'not a whole number', 'from 0 to 3'],
    ['KNOCK_TIMEOUT', '0', 'out of range', 'seconds from 1 to 60'],
    ['KNOCK_TIMEOUT', '61', 'out of range', 'seconds from 1 to 60'],
    ['KNOCK_TIMEOUT', '2.5', 'not a whole number', 'seconds from 1 to 60'],
    ['KNOCK_TARGETS', '', 'empty', 'ADDR[/PREFIX][:PORT]'],
    ['KNOCK_TARGETS', ':22,host', 'target 2', 'ADDR[/PREFIX][:PORT]'],
  ])('refuses %s=%s and names key, origin, value and rule', (key, value, why, rule) => {
    for (const message of [refusal({ [key]: value })]) {
      expect(message).toContain(`${key}=${value} (environment): `);
      expect(message).toContain(why);
      expect(message).toContain(rule);
    }
  });

  test('a value is shown in one printable line of sensible length', () => {
    const message = refusal({ KNOCK_INTLEN: `\x1b[2J\n${'x'.repeat(5000)}` });
    expect(message).toContain('KNOCK_INTLEN=\\x1b[2J\\x0ax');
    expect(message).toMatch(/^[ -~]{1,400}$/);
  });
});

describe('rc file', () => {
  test.each<{ description: string; input: string; expected: Partial<Settings> & { hex?: string } }>([
    {
      description: 'comments and blank lines',
      input: '# a\n\n \t\n  # b\nKNOCK_INTLEN=4\n',
      expected: { protectedLength: 4 },
    },
    { description: 'no newline at the end', input: 'KNOCK_INTLEN=4', expected: { protectedLength: 4 } },
    {
      description: 'CRLF',
      input: 'KNOCK_INTLEN=4\r\n\r\nKNOCK_SECRET=abc\r\n',
      expected: { protectedLength: 4, hex: '616263' },
    },
    {
      description: 'blanks around key and value',
      input: ' KNOCK_INTLEN =\t4 \n',
      expected: { protectedLength: 4 },
    },
    { description: 'later = in a secret', input: 'KNOCK_SECRET=a=b=\n', expected: { hex: '613d623d' } },
    { description: '# in a secret', input: 'KNOCK_SECRET=a #b', expected: { hex: '61202362' } },
    { description: 'quotes are part of a secret', input: 'KNOCK_SECRET="a"', expected: { hex: '226122' } },
    {
      description: 'aliases that agree',
      input: 'KNOCK_INTLEN=4\nKNOCK_INT_LEN=04',
      expected: { protectedLength: 4 },
    },
  ])('$description', ({ input, expected: { hex, ...fields } }) => {
    const settings = read({}, input);
    expect(settings).toMatchObject(fields);
    expect(secretHex(settings)).toBe(hex);
  });

  test.each([
    {
      description: 'unknown key',
      input: '\nKNOCK_FOO2=1',
      contains: [':2: ', 'KNOCK_FOO2', 'KNOCK_SECRET, KNOCK_INTLEN'],
    },
    {
      description: 'lower case',
      input: 'knock_intlen=1',
      contains: [':1: ', 'knock_intlen', 'KNOCK_INTLEN'],
    },
    { description: 'no =', input: 'KNOCK_INTLEN 4', contains: [':1: ', 'KEY=VALUE'] },
    { description: 'no key', input: '=4', contains: [':1: ', 'no known key'] },
    {
      description: 'duplicate',
      input: 'KNOCK_INTLEN=4\nKNOCK_INTLEN=4',
      contains: ['rc:2)', 'rc:1', 'KNOCK_INTLEN'],
    },
    {
      description: 'aliases that differ',
      input: 'KNOCK_INTLEN=4\nKNOCK_INT_LEN=5',
      contains: ['KNOCK_INTLEN=4', 'KNOCK_INT_LEN=5', 'rc:2'],
    },
    {
      description: 'empty value',
      input: 'KNOCK_SECRET=\r\n',
      contains: ['KNOCK_SECRET (', 'rc:1)', 'empty'],
    },
    { description: 'empty value, blanks', input: 'KNOCK_INTLEN= ', contains: ['rc:1)', 'empty'] },
    { description: 'blank before a secret', input: 'KNOCK_SECRET= abc', contains: ['rc:1)', 'blank'] },
    { description: 'blank after a secret', input: 'KNOCK_SECRET=abc \n', contains: ['rc:1)', 'blank'] },
    {
      description: 'comment behind a number',
      input: 'KNOCK_INTLEN=4 # four',
      contains: ['KNOCK_INTLEN=4 # four (', 'rc:1)'],
    },
  ])('refuses: $description', ({ input, contains }) => {
    const message = refusal({}, input);
    for (const piece of contains) expect(message).toContain(piece);
  });
});

describe('environment and rc file', () => {
  test('the environment wins, key by key and alias or not', () => {
    const settings = read({ KNOCK_INT_LEN: '4' }, 'KNOCK_INTLEN=8\nKNOCK_LOGLVL=2');
    expect(settings).toMatchObject({ protectedLength: 4, logLevel: 2 });
  });

  test('an rc file that is wrong is reported although the environment wins', () => {
    expect(refusal({ KNOCK_INTLEN: '4' }, 'KNOCK_INTLEN=x')).toContain('KNOCK_INTLEN=x (/home/u/.knockrc:1)');
  });

  test('aliases that differ in the environment', () => {
    const message = refusal({ KNOCK_INTLEN: '4', KNOCK_INTEGRITY_LEN: '5' });
    expect(message).toContain('KNOCK_INTLEN=4 (environment) and KNOCK_INTEGRITY_LEN=5 (environment)');
  });

  test('what is returned survives wiping the input', () => {
    const input = raw({ KNOCK_SECRET: 'f:/x' }, 'KNOCK_SECRET=abc\nKNOCK_TARGETS=192.0.2.1');
    const [fromFile, fromEnv] = [readSettings({ env: new Map(), rc: input.rc }), readSettings(input)];
    for (const value of input.env.values()) value.fill(0);
    input.rc?.text.fill(0);
    expect(secretHex(fromFile)).toBe('616263');
    expect(fromEnv.secret).toMatchObject({ pathBytes: Uint8Array.from(Buffer.from('/x')) });
    expect(fromEnv.targets?.[0]?.net?.address).toEqual(Uint8Array.of(192, 0, 2, 1));
  });
});

describe('properties', () => {
  const key = fc.constantFrom(...POLICY_KEYS);
  const anyBytes = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc.string({ maxLength: 80, unit: 'binary' }).map((text) => new Uint8Array(Buffer.from(text))),
    fc
      .constantFrom('h:', 'f:', 'h:0', '::', ':22', '[::1]:1', '1.2.3.4/8', '4', ',')
      .map((text) => new Uint8Array(Buffer.from(text))),
  );
  const line = fc.tuple(
    fc.constantFrom(...POLICY_KEYS, '', '#', 'KNOCK_FOO'),
    fc.constantFrom('=', ' = ', ''),
    anyBytes,
  );
  const rcs = fc
    .array(line, { maxLength: 6 })
    .map((lines) => Buffer.concat(lines.flatMap(([k, e, v]) => [Buffer.from(k + e), v, Buffer.from('\n')])));

  test('nothing but ConfigError is ever thrown', () => {
    fc.assert(
      fc.property(fc.dictionary(key, anyBytes), fc.option(fc.oneof(rcs, anyBytes)), (env, rc) => {
        try {
          read(env, rc ?? undefined);
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('any text secret comes through both ways, and hex and text of the same bytes are the same secret', () => {
    const secrets = fc
      .uint8Array({ minLength: 1, maxLength: 90 })
      .filter((b) => b[1] !== 0x3a && b.subarray(0, 64).some((byte) => byte !== 0));
    const isPlain = (b: Uint8Array) =>
      !b.includes(10) && ![13, 32, 9].some((c) => c === b[0] || c === b.at(-1));
    fc.assert(
      fc.property(secrets, (secret) => {
        const text = read({ KNOCK_SECRET: secret }).secret;
        const hex = `h:${Buffer.from(secret).toString('hex')}`;
        expect(read({ KNOCK_SECRET: hex }).secret).toEqual(text);
        expect(read({}, `KNOCK_SECRET=${hex}`).secret).toEqual(text);
        if (!isPlain(secret)) return;
        expect(read({}, Buffer.concat([Buffer.from('KNOCK_SECRET='), secret])).secret).toEqual(text);
      }),
    );
  });

  /** Letters that no message of ours has in a row, so that finding them means a leak. */
  const marker = fc
    .array(fc.constantFrom(...'qxzjQXZJ'), { minLength: 12, maxLength: 40 })
    .map((letters) => letters.join(''));

  test('no message holds a piece of the secret', () => {
    const spoil = fc.constantFrom(
      (s: string) => ({ KNOCK_SECRET: `h:${s}` }),
      (s: string) => ({ KNOCK_SECRET: `h:0${s}` }),
      (s: string) => ({ KNOCK_SECRET: `f:${s}\0` }),
      (s: string) => ` KNOCK_SECRET= ${s}`,
      (s: string) => `KNOCK_SECRET=${s} \n`,
      (s: string) => `KNOCK_SECRET=${s}\nKNOCK_SECRET=${s}`,
      (s: string) => `KNOCK_SECRET=${s}\nKNOCK_INTLEN=x`,
      (s: string) => `KNOCK_SECRET ${s}`,
      (s: string) => `KNOCK_SECRET=h:\n${s}`,
      (s: string) => `KNOCK_SECRT=${s}`,
      (s: string) => `export KNOCK_SECRET=${s}`,
      (s: string) => `KNOCK_SECRET=ok\n${s}1==\n`,
      (s: string) => `KNOCK_SECRET=ok\n${s}9/+=x`,
    );
    fc.assert(
      fc.property(marker, spoil, (secret, make) => {
        const input = make(secret);
        const message = typeof input === 'string' ? refusal({}, input) : refusal(input);
        for (let i = 0; i + 6 <= secret.length; i++) expect(message).not.toContain(secret.slice(i, i + 6));
      }),
      { numRuns: 300 },
    );
  });
});
