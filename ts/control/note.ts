import type { Engine, Protection } from '../engine/engine.ts';
import { type State, states } from '../spec/delayedConnect.ts';
import { SOCKADDR_SIZE } from '../spec/messages.ts';
import { padSecret, SECRET_BYTES } from '../stealth/secret.ts';
import type { StealthConnect } from './delayed.ts';

/** What a program asked for with the socket options of the Knock patch (thesis section 6.2). */
export interface ProgramStealth {
  /** TCP_STEALTH, 64 bytes. */
  readonly secret: Uint8Array;
  /** TCP_STEALTH_INTEGRITY_LEN, bytes; 0 if not set. */
  readonly protectedLength: number;
  /** TCP_STEALTH_INTEGRITY; empty if not set. */
  readonly payload: Uint8Array;
}

/** What is known of a socket; kept with it, so that it outlives a restart of the control process. */
export interface Note {
  readonly program?: ProgramStealth | undefined;
  readonly connect?: StealthConnect | undefined;
  readonly listener?: Protection | undefined;
}

/** Number of sections and the u16 length of each. */
const HEAD = 6;
const CONNECT_HEAD = 11;

const stateNames = Object.keys(states) as State[];

function encodeConnect(connect: StealthConnect): Uint8Array {
  const head = Buffer.alloc(CONNECT_HEAD);
  head.writeUInt8(stateNames.indexOf(connect.state), 0);
  head.writeUInt8(connect.logLevel, 1);
  head.writeUInt8(connect.sockaddr.length, 2);
  head.writeUInt16BE(connect.protectedLength, 3);
  head.writeUInt16BE(connect.accepted, 5);
  head.writeUInt16BE(connect.bytes.length, 7);
  head.writeUInt8(connect.announced ? 1 : 0, 9);
  const sockaddr = Buffer.alloc(SOCKADDR_SIZE);
  sockaddr.set(connect.sockaddr);
  return Buffer.concat([head, sockaddr, connect.secret, connect.bytes]);
}

function decodeConnect(data: Buffer): StealthConnect | undefined {
  const secretAt = CONNECT_HEAD + SOCKADDR_SIZE;
  const bytesAt = secretAt + SECRET_BYTES;
  const state = stateNames[data[0] ?? -1];
  if (state === undefined || data.length < bytesAt) return undefined;
  return {
    state,
    logLevel: data.readUInt8(1),
    sockaddr: Uint8Array.from(data.subarray(CONNECT_HEAD, CONNECT_HEAD + data.readUInt8(2))),
    protectedLength: data.readUInt16BE(3),
    accepted: data.readUInt16BE(5),
    secret: padSecret(data.subarray(secretAt, bytesAt)),
    bytes: Uint8Array.from(data.subarray(bytesAt, bytesAt + data.readUInt16BE(7))),
    announced: data.readUInt8(9) === 1,
  };
}

function encodeProtection(protectedLength: number, secret: Uint8Array, payload: Uint8Array): Uint8Array {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(protectedLength);
  return Buffer.concat([head, secret, payload]);
}

function decodeProtection(data: Buffer): ProgramStealth | undefined {
  if (data.length < 2 + SECRET_BYTES) return undefined;
  return {
    protectedLength: data.readUInt16BE(0),
    secret: padSecret(data.subarray(2, 2 + SECRET_BYTES)),
    payload: Uint8Array.from(data.subarray(2 + SECRET_BYTES)),
  };
}

/** Bits of what stands behind the protection of a listener. */
const LISTENER = { allowReplay: 1, named: 2, secretless: 4 } as const;

function encodeListener(protection: Protection): Uint8Array {
  const { protectedLength, secret, allowReplay = false, named = false } = protection;
  const bits =
    (allowReplay ? LISTENER.allowReplay : 0) |
    (named ? LISTENER.named : 0) |
    (secret === undefined ? LISTENER.secretless : 0);
  return encodeProtection(protectedLength, secret ?? new Uint8Array(SECRET_BYTES), Uint8Array.of(bits));
}

function decodeListener(data: Buffer): Protection | undefined {
  const bits = data[2 + SECRET_BYTES] ?? 0;
  const [allowReplay, named] = [(bits & LISTENER.allowReplay) !== 0, (bits & LISTENER.named) !== 0];
  if ((bits & LISTENER.secretless) !== 0)
    return { protectedLength: data.readUInt16BE(0), secret: undefined, allowReplay, named };
  const known = decodeProtection(data);
  return known && { protectedLength: known.protectedLength, secret: known.secret, allowReplay, named };
}

/** Three sections, each behind its u16 length, big-endian; an empty one is absent. */
export function encodeNote({ program, connect, listener }: Note): Uint8Array {
  const none = new Uint8Array();
  const sections = [
    program ? encodeProtection(program.protectedLength, program.secret, program.payload) : none,
    connect ? encodeConnect(connect) : none,
    listener ? encodeListener(listener) : none,
  ];
  const head = Buffer.alloc(HEAD);
  sections.forEach((section, i) => {
    head.writeUInt16BE(section.length, 2 * i);
  });
  const note = Buffer.concat([head, ...sections]);
  for (const section of sections) section.fill(0);
  return note;
}

export function decodeNote(note: Uint8Array): Note {
  const data = Buffer.from(note.buffer, note.byteOffset, note.length);
  if (data.length < HEAD) return {};
  let at = HEAD;
  const [program, connect, listener] = [0, 2, 4].map((offset) => {
    const section = data.subarray(at, at + data.readUInt16BE(offset));
    at += section.length;
    return section;
  });
  return {
    program: program && decodeProtection(program),
    connect: connect && decodeConnect(connect),
    listener: listener && decodeListener(listener),
  };
}

export function readNote(engine: Engine, fd: number): Note {
  const bytes = engine.readNote(fd);
  if (bytes === undefined) return {};
  const note = decodeNote(bytes);
  bytes.fill(0);
  return note;
}

/** Changes the given parts of a socket's note; `undefined` takes a part away. */
export function updateNote(engine: Engine, fd: number, change: Note): void {
  const before = readNote(engine, fd);
  const note = { ...before, ...change };
  const empty = !note.program && !note.connect && !note.listener;
  const bytes = encodeNote(note);
  if (empty) engine.dropNote(fd);
  else engine.writeNote(fd, bytes);
  for (const copy of [bytes, ...secretsOf(before)]) copy.fill(0);
}

/** For whoever has read a note, to wipe them. */
export function secretsOf(note: Note): Uint8Array[] {
  return [note.program, note.connect, note.listener].flatMap((part) =>
    part?.secret === undefined ? [] : [part.secret],
  );
}
