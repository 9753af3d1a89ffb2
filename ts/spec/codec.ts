import { endianness } from 'node:os';
import {
  type FieldSpec,
  HEADER_SIZE,
  type MessageName,
  type MessageSpec,
  messages,
  PROTOCOL_VERSION,
} from './messages.ts';

type Value<F extends FieldSpec> = F['type'] extends 'bytes' | 'blob' ? Uint8Array : number;
type Fields<S extends MessageSpec> = { [F in S['fields'][number] as F['name']]: Value<F> };
type SpecOf<N extends MessageName> = Extract<(typeof messages)[number], { name: N }>;

/** A message of the control protocol as a plain object, `kind` naming it. */
export type Message<N extends MessageName = MessageName> = N extends MessageName
  ? { kind: N } & Fields<SpecOf<N>>
  : never;

/** A datagram that is no message of this protocol version; the text says what is wrong with it. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

interface Placed {
  readonly field: FieldSpec;
  readonly offset: number;
}

export interface Layout {
  readonly spec: MessageSpec;
  readonly fields: readonly Placed[];
  /** Bytes of the header and the fixed fields; blobs follow. */
  readonly fixedSize: number;
}

const widths = { u8: 1, u16: 2, u32: 4, i32: 4, blob: 4 } as const;
const little = endianness() === 'LE';

/** Places the fields as the C compiler does without packing: each at a multiple of its own alignment. */
function layoutOf(spec: MessageSpec): Layout {
  let offset = HEADER_SIZE;
  const fields = spec.fields.map((field) => {
    const alignment = field.type === 'bytes' ? 1 : widths[field.type];
    offset = Math.ceil(offset / alignment) * alignment;
    const placed = { field, offset };
    offset += field.type === 'bytes' ? field.size : widths[field.type];
    return placed;
  });
  return { spec, fields, fixedSize: Math.ceil(offset / 4) * 4 };
}

export const layouts: ReadonlyMap<MessageName, Layout> = new Map(
  messages.map((spec) => [spec.name, layoutOf(spec)]),
);

/** The most bytes that any message of the protocol takes. */
export const MAX_MESSAGE_SIZE = Math.max(
  ...[...layouts.values()].map(
    ({ spec, fixedSize }) =>
      fixedSize + spec.fields.reduce((sum, field) => sum + (field.type === 'blob' ? field.max : 0), 0),
  ),
);

function layoutFor(name: MessageName): Layout {
  const layout = layouts.get(name);
  if (layout === undefined) throw new ProtocolError(`no message is called '${name}'`);
  return layout;
}

/** Serialises a message. Throws ProtocolError where a value does not fit its field. */
export function encode(message: Message): Uint8Array {
  const { spec, fields, fixedSize } = layoutFor(message.kind);
  const values = message as unknown as Record<string, number | Uint8Array>;
  const blobs = spec.fields
    .filter((field) => field.type === 'blob')
    .map((field) => values[field.name] as Uint8Array);
  const size = fixedSize + blobs.reduce((sum, blob) => sum + blob.length, 0);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, PROTOCOL_VERSION, little);
  view.setUint16(2, spec.id, little);
  view.setUint32(4, size, little);
  let end = fixedSize;
  for (const { field, offset } of fields) {
    const value = values[field.name];
    if (field.type === 'bytes' || field.type === 'blob') {
      const data = value as Uint8Array;
      const room = field.type === 'bytes' ? field.size : field.max;
      if (data.length > room)
        throw new ProtocolError(`${spec.name}.${field.name}: ${data.length} bytes, room for ${room}`);
      bytes.set(data, field.type === 'bytes' ? offset : end);
      if (field.type === 'blob') {
        view.setUint32(offset, data.length, little);
        end += data.length;
      }
    } else writeInteger(view, offset, field.type, value as number);
  }
  return bytes;
}

function writeInteger(
  view: DataView,
  offset: number,
  type: 'u8' | 'u16' | 'u32' | 'i32',
  value: number,
): void {
  if (type === 'u8') view.setUint8(offset, value);
  else if (type === 'u16') view.setUint16(offset, value, little);
  else if (type === 'u32') view.setUint32(offset, value, little);
  else view.setInt32(offset, value, little);
}

function readInteger(view: DataView, offset: number, type: 'u8' | 'u16' | 'u32' | 'i32'): number {
  if (type === 'u8') return view.getUint8(offset);
  if (type === 'u16') return view.getUint16(offset, little);
  return type === 'u32' ? view.getUint32(offset, little) : view.getInt32(offset, little);
}

/**
 * slice() of a Buffer would share its memory, which the next datagram is received into. With a buffer of its own the
 * copy can be wiped: V8 keeps small arrays among its objects, and moves them, at first.
 */
function copy(bytes: Uint8Array, offset: number, length: number): Uint8Array {
  const own = new Uint8Array(new ArrayBuffer(length));
  own.set(bytes.subarray(offset, offset + length));
  return own;
}

/** Parses one datagram. The byte fields are copies. Throws ProtocolError on anything but a well-formed message. */
export function decode(bytes: Uint8Array): Message {
  if (bytes.length < HEADER_SIZE) throw new ProtocolError(`datagram of ${bytes.length} bytes is too short`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const version = view.getUint16(0, little);
  if (version !== PROTOCOL_VERSION)
    throw new ProtocolError(
      `protocol version ${version}, this side speaks ${PROTOCOL_VERSION}: install library and control process of one release`,
    );
  const id = view.getUint16(2, little);
  const spec = messages.find((candidate) => candidate.id === id);
  if (spec === undefined) throw new ProtocolError(`unknown message ${id}`);
  const { fields, fixedSize } = layoutFor(spec.name);
  if (view.getUint32(4, little) !== bytes.length || bytes.length < fixedSize)
    throw new ProtocolError(`${spec.name}: wrong size, ${bytes.length} bytes arrived`);
  const message: Record<string, unknown> = { kind: spec.name };
  let end = fixedSize;
  for (const { field, offset } of fields) {
    if (field.type === 'bytes') message[field.name] = copy(bytes, offset, field.size);
    else if (field.type === 'blob') {
      const length = view.getUint32(offset, little);
      if (length > field.max || end + length > bytes.length)
        throw new ProtocolError(`${spec.name}.${field.name}: length ${length} does not fit`);
      message[field.name] = copy(bytes, end, length);
      end += length;
    } else message[field.name] = readInteger(view, offset, field.type);
  }
  if (end !== bytes.length) throw new ProtocolError(`${spec.name}: ${bytes.length - end} bytes too many`);
  return message as Message;
}
