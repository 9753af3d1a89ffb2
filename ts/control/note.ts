import type { Protection } from '../engine/engine.ts';
import { type State, states } from '../spec/delayedConnect.ts';
import { SOCKADDR_SIZE } from '../spec/messages.ts';
import type { StealthConnect } from './delayed.ts';

/**
 * What the control process attaches to a socket, so that a delayed connect or a guard outlives a restart of it.
 * Connect: u8 1, u8 state, u8 log level, u8 size of the address, u16 N, u16 accepted, u16 bytes, address, secret, bytes.
 * Listener: u8 2, u8 0, u16 N, secret. Big-endian.
 */
const CONNECT = 1;
const LISTENER = 2;
const SECRET_SIZE = 64;
const CONNECT_HEAD = 10;
const LISTENER_HEAD = 4;

const stateNames = Object.keys(states) as State[];

export function encodeConnect(connect: StealthConnect): Uint8Array {
  const head = Buffer.alloc(CONNECT_HEAD);
  head.writeUInt8(CONNECT, 0);
  head.writeUInt8(stateNames.indexOf(connect.state), 1);
  head.writeUInt8(connect.logLevel, 2);
  head.writeUInt8(connect.sockaddr.length, 3);
  head.writeUInt16BE(connect.protectedLength, 4);
  head.writeUInt16BE(connect.accepted, 6);
  head.writeUInt16BE(connect.bytes.length, 8);
  const sockaddr = Buffer.alloc(SOCKADDR_SIZE);
  sockaddr.set(connect.sockaddr);
  return Buffer.concat([head, sockaddr, connect.secret, connect.bytes]);
}

/** Undefined when the note is no connect's. */
export function decodeConnect(note: Uint8Array): StealthConnect | undefined {
  const data = Buffer.from(note.buffer, note.byteOffset, note.length);
  const secretAt = CONNECT_HEAD + SOCKADDR_SIZE;
  const bytesAt = secretAt + SECRET_SIZE;
  if (data.length < bytesAt || data.readUInt8(0) !== CONNECT) return undefined;
  const state = stateNames[data.readUInt8(1)];
  const length = data.readUInt16BE(8);
  if (state === undefined || data.length < bytesAt + length) return undefined;
  return {
    state,
    logLevel: data.readUInt8(2),
    sockaddr: Uint8Array.from(data.subarray(CONNECT_HEAD, CONNECT_HEAD + data.readUInt8(3))),
    protectedLength: data.readUInt16BE(4),
    accepted: data.readUInt16BE(6),
    secret: Uint8Array.from(data.subarray(secretAt, bytesAt)),
    bytes: Uint8Array.from(data.subarray(bytesAt, bytesAt + length)),
  };
}

export function encodeListener({ secret, protectedLength }: Protection): Uint8Array {
  const head = Buffer.alloc(LISTENER_HEAD);
  head.writeUInt8(LISTENER, 0);
  head.writeUInt16BE(protectedLength, 2);
  return Buffer.concat([head, secret]);
}

/** Undefined when the note is no listener's. */
export function decodeListener(note: Uint8Array): Protection | undefined {
  const data = Buffer.from(note.buffer, note.byteOffset, note.length);
  if (data.length < LISTENER_HEAD + SECRET_SIZE || data.readUInt8(0) !== LISTENER) return undefined;
  const secret = Uint8Array.from(data.subarray(LISTENER_HEAD, LISTENER_HEAD + SECRET_SIZE));
  return { secret, protectedLength: data.readUInt16BE(2) };
}
