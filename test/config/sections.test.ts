import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigError } from '../../ts/config/error.ts';
import { readSettings, type Settings, secretsOf, settingsFor } from '../../ts/config/settings.ts';
import { matchesDestination, parseTargets } from '../../ts/config/targets.ts';
import { destinationOf } from '../../ts/stealth/destination.ts';

const RC = '/home/u/.knockrc';

function read(rc: string, env: Record<string, string> = {}): Settings {
  const variables = Object.entries(env).map(([key, value]) => [key, Buffer.from(value)] as const);
  return readSettings({ env: new Map(variables), rc: { path: RC, text: Buffer.from(rc) } });
}

function refusal(rc: string, env: Record<string, string> = {}): string {
  try {
    read(rc, env);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message;
  }
  throw new Error('it was accepted');
}

const textOf = (secret: Settings['secret']) =>
  secret?.kind === 'bytes' ? Buffer.from(secret.bytes).toString().replace(/\0+$/, '') : secret?.path;

/** What applies to a destination: secret, protected length and whether it uses stealth at all. */
function applying(settings: Settings, address: string, port: number) {
  const destination = destinationOf(address, port);
  const { secret, protectedLength, targets } = settingsFor(settings, destination);
  return [
    textOf(secret),
    protectedLength,
    targets === undefined || matchesDestination(targets, destination),
  ] as const;
}

const SECTIONS = `
KNOCK_SECRET=top
KNOCK_INTLEN=7
[192.0.2.0/24]
KNOCK_SECRET=net
KNOCK_INTLEN=0
 [ 192.0.2.0/24:22 ]
# the length is the top's
KNOCK_SECRET=net ssh
[192.0.2.9, 198.51.100.1:80]
KNOCK_SECRET=host
[:443]
KNOCK_SECRET=https
[[2001:db8::/32]:22]
KNOCK_SECRET=six ssh
[2001:db8::1]
KNOCK_INT_LEN=3
[127.0.0.0/8]
KNOCK_SECRET=loop
`;

describe('sections', () => {
  test.each<[string, number, string, number]>([
    ['203.0.113.1', 22, 'top', 7],
    ['192.0.2.1', 80, 'net', 0],
    ['192.0.2.1', 22, 'net ssh', 7],
    // The longer prefix, though the other has the port.
    ['192.0.2.9', 22, 'host', 7],
    ['192.0.2.1', 443, 'net', 0],
    ['198.51.100.1', 80, 'host', 7],
    ['198.51.100.1', 81, 'top', 7],
    ['203.0.113.1', 443, 'https', 7],
    ['2001:db8::2', 22, 'six ssh', 7],
    ['2001:db8::2', 443, 'https', 7],
    ['2001:db8::1', 22, 'top', 3],
    ['::ffff:192.0.2.1', 22, 'net ssh', 7],
    // This machine, as the kernel takes it.
    ['0.0.0.0', 22, 'loop', 7],
    ['::', 22, 'top', 7],
  ])('%s port %d: %s, %d', (address, port, secret, length) => {
    expect(applying(read(SECTIONS), address, port)).toEqual([secret, length, true]);
  });

  test('use stealth where KNOCK_TARGETS of the same file leaves them out, and nothing else does', () => {
    const settings = read('KNOCK_TARGETS=:25\n[192.0.2.0/24:22]\nKNOCK_SECRET=ssh');
    expect(applying(settings, '192.0.2.1', 22)).toEqual(['ssh', undefined, true]);
    expect(applying(settings, '192.0.2.1', 25)).toEqual([undefined, undefined, true]);
    expect(applying(settings, '192.0.2.1', 80)).toEqual([undefined, undefined, false]);
  });

  test('give way to the environment, key by key', () => {
    const rc = 'KNOCK_INTLEN=1\n[:22]\nKNOCK_SECRET=ssh\nKNOCK_INTLEN=2';
    expect(applying(read(rc, { KNOCK_SECRET: 'env' }), '192.0.2.1', 22)).toEqual(['env', 2, true]);
    expect(applying(read(rc, { KNOCK_INTEGRITY_LEN: '0' }), '192.0.2.1', 22)).toEqual(['ssh', 0, true]);
    expect(applying(read(rc, { KNOCK_TARGETS: ':80' }), '192.0.2.1', 22)).toEqual(['ssh', 2, false]);
  });

  test('do not count for what is asked without a destination: listeners', () => {
    expect(textOf(read('[:22]\nKNOCK_SECRET=ssh').secret)).toBeUndefined();
  });

  test('have their secrets among those to wipe', () => {
    const settings = read('KNOCK_SECRET=top\n[:22]\nKNOCK_SECRET=ssh\n[:23]\nKNOCK_SECRET=f:/x');
    expect(secretsOf(settings)).toHaveLength(2);
    for (const secret of secretsOf(settings)) secret.fill(0);
    expect(textOf(settingsFor(settings, destinationOf('192.0.2.1', 22)).secret)).toBe('');
  });

  test.each([
    { description: 'no end', rc: '\n[192.0.2.1:22\n', contains: [':2: ', 'does not end with ]'] },
    {
      description: "an IPv6 target's brackets alone",
      rc: '[2001:db8::1]:22',
      contains: [':1: ', '[[2001:db8::1]:22]'],
    },
    { description: 'nothing in it', rc: '[]', contains: [':1: ', 'empty'] },
    { description: 'a host name', rc: '[example.org:22]', contains: [':1: ', 'numeric'] },
    { description: 'the second of two targets', rc: '[:22,:0]', contains: [':1: ', 'target 2', 'port'] },
    {
      description: 'a key that is no matter of targets',
      rc: '[:22]\nKNOCK_LOGLVL=2',
      contains: ['KNOCK_LOGLVL (', 'rc:2)', 'rc:1', 'above the first section', 'KNOCK_SECRET, KNOCK_INTLEN'],
    },
    {
      description: 'a key twice',
      rc: 'KNOCK_INTLEN=1\n[:22]\nKNOCK_INTLEN=2\nKNOCK_INTLEN=3',
      contains: ['rc:4)', 'rc:3'],
    },
    { description: 'a bad value', rc: '[:22]\nKNOCK_INTLEN=x', contains: ['KNOCK_INTLEN=x (', 'rc:2)'] },
    { description: 'the same target twice', rc: '[:22]\n[:22]', contains: ['rc:2:', 'rc:1'] },
    {
      description: 'the same network by other addresses',
      rc: '[192.0.2.1/24:22]\n[:23]\n[198.51.100.1,192.0.2.2/24:22]',
      contains: ['rc:3:', 'rc:1'],
    },
    { description: 'any address, twice', rc: '[0.0.0.0/0:22]\n[:22]', contains: ['rc:2:', 'rc:1'] },
    { description: 'a mapped address', rc: '[192.0.2.1]\n[::ffff:192.0.2.1]', contains: ['rc:2:', 'rc:1'] },
  ])('refused: $description', ({ rc, contains }) => {
    for (const piece of contains) expect(refusal(rc)).toContain(piece);
  });

  test.each([
    '[0.0.0.0/0:22]\n[::/0:22]',
    '[192.0.2.0/24]\n[192.0.2.0/25]',
    '[:22]\n[:23]',
    '[:22]\n[192.0.2.1]',
  ])('none is like another in %j', (rc) => expect(read(rc).sections).toHaveLength(2));

  test('what stands in a header that is wrong is not shown', () => {
    expect(refusal('[qxzjsecretqxzj]')).not.toContain('qxzj');
    expect(refusal('[qxzjsecretqxzj')).not.toContain('qxzj');
  });
});

describe('of any sections that are accepted', () => {
  const address = fc.constantFrom('192.0.2.1', '192.0.2.129', '198.51.100.7', '2001:db8::1', '2001:db8:1::1');
  const port = fc.constantFrom(22, 80, 443);
  const target = fc
    .tuple(fc.option(fc.tuple(address, fc.nat(128))), fc.option(port))
    .filter(([net, at]) => net !== null || at !== null)
    .map(([net, at]) => {
      const [text, bits] = net ?? ['', 0];
      const prefix = text.includes(':') ? bits : bits % 33;
      const suffix = at === null ? '' : `:${at}`;
      if (net === null) return suffix;
      return text.includes(':') ? `[${text}/${prefix}]${suffix}` : `${text}/${prefix}${suffix}`;
    });
  const rc = fc.array(target, { minLength: 1, maxLength: 6 });

  test('the one that counts fits, and of those that fit it has the longest prefix, then a port', () => {
    let accepted = 0;
    fc.assert(
      fc.property(rc, address, port, (headers, to, at) => {
        const text = headers.map((header, i) => `[${header}]\nKNOCK_SECRET=${i}`).join('\n');
        let settings: Settings;
        try {
          settings = read(text);
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
          return;
        }
        accepted++;
        const refuse = (why: string): never => {
          throw new Error(why);
        };
        const ranks = headers.map((header) => {
          const [one] = parseTargets(Buffer.from(header), refuse);
          if (one === undefined || !matchesDestination([one], destinationOf(to, at))) return -1;
          return 2 * (one.net?.prefix ?? 0) + (one.port === undefined ? 0 : 1);
        });
        const best = Math.max(...ranks);
        // Never two: that is what is refused.
        expect(ranks.filter((rank) => rank === best && rank >= 0).length).toBe(best < 0 ? 0 : 1);
        const expected = best < 0 ? undefined : String(ranks.indexOf(best));
        expect(textOf(settingsFor(settings, destinationOf(to, at)).secret)).toBe(expected);
      }),
      { numRuns: 2000 },
    );
    expect(accepted).toBeGreaterThan(200);
  });
});
