import type { Refuse } from './error.ts';
import { parseSecret, type SecretSource } from './secretForm.ts';
import { parseTargets, type Targets } from './targets.ts';

/** 0 nothing, 1 errors, 2 what is done to each connection, 3 everything. */
export type LogLevel = 0 | 1 | 2 | 3;

export const DEFAULT_LOG_LEVEL: LogLevel = 1;

/** Longest protected payload, in bytes. The draft limits it to the first segment. */
export const MAX_PROTECTED_LENGTH = 1024;

/** KNOCK_TIMEOUT, in seconds. */
export const DEFAULT_TIMEOUT = 5;
export const LONGEST_TIMEOUT = 60;

/** One setting: all that parsing, messages and documentation know of it. */
export interface KeySpec<T> {
  readonly name: string;
  /** Other names for the same setting, which earlier implementations used. */
  readonly aliases: readonly string[];
  /** Its value must appear in no message. */
  readonly confidential: boolean;
  /** It may stand in a section of an rc file, for some destinations only. */
  readonly inSections: boolean;
  /** What applies when it is not set. */
  readonly default: string;
  /** What a value must be, as the end of a message: "must be ...". */
  readonly rule: string;
  readonly example: string;
  /** One or two sentences for the documentation. */
  readonly description: string;
  /** `origin` is `environment` or `path:line`. The value is never empty. */
  readonly parse: (value: Uint8Array, refuse: Refuse, origin: string) => T;
}

const secret: KeySpec<SecretSource> = {
  name: 'KNOCK_SECRET',
  aliases: [],
  confidential: true,
  inSections: true,
  default:
    "the control process's own secret, or for listeners its named ones; without any, stealth sockets fail",
  rule: 'h: and an even number of hex digits, f: and a file name, or else the text itself; not empty, not all zero bytes',
  example: 'f:/home/user/.knock-secret',
  description:
    'The secret that both ends share, padded with zero bytes or cut to 64 bytes. ' +
    'The bytes of a file count as they are, a final newline included.',
  parse: parseSecret,
};

const protectedLength: KeySpec<number> = {
  name: 'KNOCK_INTLEN',
  aliases: ['KNOCK_INTEGRITY_LEN', 'KNOCK_INT_LEN'],
  confidential: false,
  inSections: true,
  default: '0',
  rule: `a whole number from 0 to ${MAX_PROTECTED_LENGTH}`,
  example: '4',
  description:
    'How many of the first bytes that the client sends the token protects. 0 is authentication only. ' +
    'Both ends need the same number.',
  parse: (value, refuse) => parseNumber(value, MAX_PROTECTED_LENGTH, refuse),
};

/** What becomes of a token that has been used before, by somebody else. */
export type Replay = 'allow' | 'reject';

export const DEFAULT_REPLAY: Replay = 'reject';

const replay: KeySpec<Replay> = {
  name: 'KNOCK_REPLAY',
  aliases: [],
  confidential: false,
  inSections: false,
  default: DEFAULT_REPLAY,
  rule: 'allow or reject',
  example: 'allow',
  description:
    'Of servers: whether a SYN that was accepted from one address, seen by somebody on the way and sent again from ' +
    'another address, is answered as by a closed port (reject) or gets through (allow).',
  parse: (value, refuse) => {
    const text = Buffer.from(value).toString('latin1');
    return text === 'allow' || text === 'reject' ? text : refuse('it is neither');
  },
};

const targets: KeySpec<Targets> = {
  name: 'KNOCK_TARGETS',
  aliases: [],
  confidential: false,
  inSections: false,
  default: 'all TCP sockets',
  rule:
    'ADDR[/PREFIX][:PORT], [V6]:PORT, [V6/PREFIX]:PORT or :PORT, several of them separated by commas ' +
    '(numeric addresses, ports 1 to 65535)',
  example: '192.0.2.0/24:22,[2001:db8::1]:443,:8080',
  description:
    'Which destinations (connect) and local addresses (listen) use stealth; all others are left alone. ' +
    'An IPv6 address with a port needs its brackets.',
  parse: parseTargets,
};

const logLevel: KeySpec<LogLevel> = {
  name: 'KNOCK_LOGLVL',
  aliases: [],
  confidential: false,
  inSections: false,
  default: String(DEFAULT_LOG_LEVEL),
  rule: 'a whole number from 0 to 3',
  example: '2',
  description:
    'What is reported on standard error: 0 nothing, 1 errors, 2 also each connection, 3 everything. ' +
    'Never the secret.',
  parse: (value, refuse) => parseNumber(value, 3, refuse) as LogLevel,
};

const timeout: KeySpec<number> = {
  name: 'KNOCK_TIMEOUT',
  aliases: [],
  confidential: false,
  inSections: false,
  default: String(DEFAULT_TIMEOUT),
  rule: `a whole number of seconds from 1 to ${LONGEST_TIMEOUT}`,
  example: '2',
  description:
    'How long a program waits for the control process before its call fails with EPROTONOSUPPORT, in seconds.',
  parse: (value, refuse) => parseNumber(value, LONGEST_TIMEOUT, refuse, 1),
};

/** Every setting, by the name of its field in `Settings`. */
export const KEYS = { secret, protectedLength, replay, targets, logLevel, timeout } as const;

/** The same as a list, in the order of the documentation. */
export const KEY_LIST: readonly KeySpec<unknown>[] = Object.values(KEYS);

/** The sections of an rc file, for the documentation and for messages. */
export const SECTION = {
  rule: 'a line with [ and ] around targets, written as in KNOCK_TARGETS',
  example: '[192.0.2.0/24:22]',
  description:
    'A file may have sections, each with what a client uses for some destinations only: other secrets for other servers. ' +
    'What a section leaves open is as the lines above the first one have it. Of several sections that fit a destination ' +
    'the most specific one counts: that with the longer prefix, and with equal ones that with a port; two that are ' +
    'equally specific are an error. What a section names uses stealth also where KNOCK_TARGETS of the same file leaves ' +
    'it out. The environment wins over sections, too. Listeners heed none.',
} as const;

/** All names of a setting, the proper one first. */
export function namesOf(spec: KeySpec<unknown>): readonly string[] {
  return [spec.name, ...spec.aliases];
}

/** The setting that a name or an alias stands for. Names are case-sensitive, as environment variables are. */
export function keyNamed(name: string): KeySpec<unknown> | undefined {
  return KEY_LIST.find((spec) => namesOf(spec).includes(name));
}

function parseNumber(value: Uint8Array, max: number, refuse: Refuse, min = 0): number {
  const text = Buffer.from(value).toString('latin1');
  if (!/^\d+$/.test(text)) refuse('it is not a whole number');
  const number = Number(text);
  if (number < min || number > max) refuse('it is out of range');
  return number;
}
