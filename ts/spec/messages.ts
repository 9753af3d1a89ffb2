/**
 * The control protocol between libknockify.so and the control process: one datagram a message on a
 * SOCK_SEQPACKET Unix socket, integers in host byte order. The C structs (shim/generated/messages.h) and the
 * TypeScript codec (codec.ts) both come from this file.
 */

export type IntegerType = 'u8' | 'u16' | 'u32' | 'i32';

/** A fixed-size field, or a blob: its u32 length stands among the fixed fields, its bytes follow them in order. */
export type FieldSpec =
  | { readonly name: string; readonly type: IntegerType; readonly doc: string }
  | { readonly name: string; readonly type: 'bytes'; readonly size: number; readonly doc: string }
  | { readonly name: string; readonly type: 'blob'; readonly max: number; readonly doc: string };

export interface MessageSpec {
  readonly name: string;
  readonly id: number;
  readonly doc: string;
  /** What the descriptors of SCM_RIGHTS are, in order; one that ends in `?` may be missing. */
  readonly descriptors: readonly string[];
  readonly fields: readonly FieldSpec[];
}

/** Raised whenever a struct changes: both sides refuse a peer of another version by name. */
export const PROTOCOL_VERSION = 2;

/** Where the control process listens, unless KNOCK_CONTROL or --socket says otherwise. */
export const DEFAULT_SOCKET = '/run/knockify/control.sock';

/** Longest KNOCK_INTLEN, and so the most payload that a send request carries. */
export const MAX_PROTECTED_LENGTH = 1024;

/** The most JSON of a told message, in bytes. */
export const MAX_TOLD = 32_768;

/** KNOCK_TIMEOUT, in seconds: how long the shim waits for the control process, and the longest that may be. */
export const DEFAULT_TIMEOUT = 5;
export const LONGEST_TIMEOUT = 60;

/** MD5's four words, little-endian. */
export const MIDSTATE_SIZE = 16;

/** `sizeof(struct sockaddr_in6)`, the longest address of a TCP socket. */
export const SOCKADDR_SIZE = 28;

/** Environment variables that the shim hands over. KNOCK_CONTROL and KNOCK_RC are used by the shim itself. */
export const settingVariables = [
  'KNOCK_SECRET',
  'KNOCK_INTLEN',
  'KNOCK_INTEGRITY_LEN',
  'KNOCK_INT_LEN',
  'KNOCK_LOGLVL',
  'KNOCK_TARGETS',
  'KNOCK_REPLAY',
  'KNOCK_TIMEOUT',
] as const;

/** What the control process tells the shim to do. */
export const actions = [
  { name: 'pass', id: 0, doc: 'stealth has nothing to do here: make the original call' },
  { name: 'proceed', id: 1, doc: 'the socket is armed or guarded: make the original call, then report' },
  { name: 'deferred', id: 2, doc: 'the connect is faked: tell the application that it succeeded' },
  { name: 'gathered', id: 3, doc: 'all bytes were taken: tell the application that they were sent' },
  { name: 'flush', id: 4, doc: 'the connect is under way: send the prefix and the data in one segment' },
  { name: 'reset', id: 5, doc: 'the accepted connection failed the inspection: reset it' },
  { name: 'refuse', id: 6, doc: 'fail the call with the given errno' },
  { name: 'need_file', id: 7, doc: 'open the named file and hand it over' },
  { name: 'done', id: 8, doc: 'the call is done: tell the application that it succeeded' },
] as const;

export type ActionName = (typeof actions)[number]['name'];

const settings = [
  {
    name: 'settings',
    type: 'blob',
    max: 32_768,
    doc: 'KEY=VALUE texts of the environment, each ended by NUL',
  },
  { name: 'rc_path', type: 'blob', max: 4096, doc: 'name of the rc file; empty if there is none' },
  { name: 'rc_error', type: 'i32', doc: 'errno of opening the rc file, 0 if its descriptor is attached' },
] as const satisfies readonly FieldSpec[];

const outcome = {
  name: 'error',
  type: 'i32',
  doc: 'errno of the call, 0 for success',
} as const satisfies FieldSpec;

const peer = [
  { name: 'peer', type: 'bytes', size: SOCKADDR_SIZE, doc: 'struct sockaddr_in or sockaddr_in6' },
  { name: 'peer_size', type: 'u32', doc: 'bytes of it that count' },
] as const satisfies readonly FieldSpec[];

export const messages = [
  {
    name: 'connect',
    id: 1,
    doc: 'shim: the application wants to connect',
    descriptors: ['socket', 'rc?'],
    fields: [...settings, ...peer],
  },
  {
    name: 'listen',
    id: 2,
    doc: 'shim: the application wants to listen',
    descriptors: ['socket', 'rc?'],
    fields: settings,
  },
  {
    name: 'send',
    id: 3,
    doc: 'shim: the application sends on a socket whose connect is delayed; without a byte: asks for its peer and prefix',
    descriptors: ['socket'],
    fields: [
      { name: 'payload', type: 'blob', max: MAX_PROTECTED_LENGTH, doc: 'the first bytes of the data' },
    ],
  },
  {
    name: 'accepted',
    id: 4,
    doc: 'shim: a listener in integrity mode accepted this connection',
    descriptors: ['socket', 'listener'],
    fields: [],
  },
  {
    name: 'file',
    id: 5,
    doc: 'shim: the answer to need_file',
    descriptors: ['file?'],
    fields: [outcome],
  },
  {
    name: 'report',
    id: 6,
    doc: 'shim: how the real call ended',
    descriptors: [],
    fields: [
      outcome,
      { name: 'waits', type: 'u32', doc: '1: the shim waits for the answer; 0: there is to be none' },
    ],
  },
  {
    name: 'option',
    id: 8,
    doc: 'shim: the application sets one of the socket options of the Knock patch',
    descriptors: ['socket'],
    fields: [
      {
        name: 'option',
        type: 'u32',
        doc: 'TCP_STEALTH 26, TCP_STEALTH_INTEGRITY 27 or TCP_STEALTH_INTEGRITY_LEN 28',
      },
      { name: 'length', type: 'u32', doc: 'of the value as the application gave it' },
      { name: 'value', type: 'blob', max: MAX_PROTECTED_LENGTH, doc: 'the value, as far as there is room' },
    ],
  },
  {
    name: 'verdict',
    id: 7,
    doc: 'control: what to do',
    descriptors: [],
    fields: [
      { name: 'action', type: 'u8', doc: 'one of the actions' },
      {
        name: 'log_level',
        type: 'u8',
        doc: 'KNOCK_LOGLVL as it applies to this application; 255 if not known',
      },
      {
        name: 'follow',
        type: 'u8',
        doc: '1: forward what comes next: accepted connections, or the first writes',
      },
      { name: 'error', type: 'i32', doc: 'errno for the application, with refuse' },
      {
        name: 'protected_length',
        type: 'u32',
        doc: 'of a listener: bytes of a first segment that can be inspected with the midstate; 0 if none can',
      },
      {
        name: 'midstate',
        type: 'bytes',
        size: MIDSTATE_SIZE,
        doc: 'state of MD5 behind the secret, as the integrity hash begins',
      },
      ...peer,
      { name: 'text', type: 'blob', max: 2048, doc: 'a line for stderr; empty for none' },
      {
        name: 'prefix',
        type: 'blob',
        max: MAX_PROTECTED_LENGTH,
        doc: 'bytes gathered earlier, to be sent first',
      },
      { name: 'path', type: 'blob', max: 4096, doc: 'the file wanted, with need_file' },
    ],
  },
  {
    name: 'status',
    id: 9,
    doc: 'tool: what is guarded, and what came to it',
    descriptors: [],
    fields: [{ name: 'from', type: 'u32', doc: 'the listener to begin with: 0, or what next said' }],
  },
  {
    name: 'follow',
    id: 10,
    doc: 'tool: what guards say of SYNs from now on, one told message after the other',
    descriptors: [],
    fields: [
      { name: 'age', type: 'u32', doc: 'also what they said so many milliseconds ago, if it is on record' },
    ],
  },
  {
    name: 'told',
    id: 11,
    doc: 'control: the answer to status, or an event for who follows',
    descriptors: [],
    fields: [
      { name: 'next', type: 'u32', doc: 'the listener to ask for next; 0 for no more' },
      { name: 'text', type: 'blob', max: MAX_TOLD, doc: 'JSON, as ts/spec/status.ts has it' },
    ],
  },
] as const satisfies readonly MessageSpec[];

export type MessageName = (typeof messages)[number]['name'];

/** The fields of every message before its own: u16 version, u16 id, u32 size of the whole datagram. */
export const HEADER_SIZE = 8;
