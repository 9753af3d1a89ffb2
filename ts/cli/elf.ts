import { closeSync, openSync, readSync } from 'node:fs';

/** What decides whether a shared library can be preloaded into a program: from its ELF headers (elf(5)). */
export interface Elf {
  /** Word size, byte order and machine, for comparison with another file's. */
  readonly architecture: string;
  /** The dynamic loader (PT_INTERP); undefined is a static program. */
  readonly interpreter: string | undefined;
  /** Made by the Go compiler: by the build id that its linker leaves in a note, or by its build information. */
  readonly go: boolean;
}

/** The file is called an ELF file, but its headers lead nowhere. */
export class ElfError extends Error {
  override readonly name = 'ElfError';
}

const MAGIC = Buffer.from('\x7fELF', 'latin1');
const IDENT_BYTES = 20;
const HEADER_BYTES = 64;
const PT_INTERP = 3;
const PT_NOTE = 4;
/** More than the longest path, and than any note, section table or table of names that means something here. */
const MAX_BYTES = 1 << 22;

/** Offsets that differ between the classes. `counts`: of five u16, size and number of segments, of sections, and the names' index. */
const CLASSES = {
  1: { bits: 32, segments: 28, sections: 32, counts: 42, segment: [4, 16], section: [16, 20] },
  2: { bits: 64, segments: 32, sections: 40, counts: 54, segment: [8, 32], section: [24, 32] },
} as const;
type Layout = (typeof CLASSES)[1 | 2];

/** An open ELF file, read as its class and byte order say. */
class Reader {
  readonly layout: Layout;
  readonly little: boolean;
  readonly #fd: number;

  constructor(fd: number, ident: Buffer) {
    const layout = CLASSES[ident[4] as 1 | 2];
    if (layout === undefined || (ident[5] !== 1 && ident[5] !== 2)) throw new ElfError('damaged ELF header');
    this.#fd = fd;
    this.layout = layout;
    this.little = ident[5] === 1;
  }

  bytes(offset: number, length: number): Buffer {
    if (length > MAX_BYTES) throw new ElfError('damaged ELF header');
    const bytes = Buffer.alloc(length);
    if (readSync(this.#fd, bytes, 0, length, offset) !== length) throw new ElfError('the file is cut short');
    return bytes;
  }

  u16(from: Buffer, at: number): number {
    return this.little ? from.readUInt16LE(at) : from.readUInt16BE(at);
  }

  u32(from: Buffer, at: number): number {
    return this.little ? from.readUInt32LE(at) : from.readUInt32BE(at);
  }

  /** An offset or a length, as wide as the class has it. */
  word(from: Buffer, at: number): number {
    if (this.layout.bits === 32) return this.u32(from, at);
    return Number(this.little ? from.readBigUInt64LE(at) : from.readBigUInt64BE(at));
  }

  /** What a segment's or section's header points to. */
  contents(header: Buffer, [offset, size]: readonly [number, number]): Buffer {
    return this.bytes(this.word(header, offset), this.word(header, size));
  }

  /** Splits a table of headers. */
  table(offset: number, size: number, count: number): Buffer[] {
    const smallest = this.layout.bits === 32 ? 32 : 56;
    if (count === 0) return [];
    if (size < smallest) throw new ElfError('damaged ELF header');
    const all = this.bytes(offset, size * count);
    return Array.from({ length: count }, (_, i) => all.subarray(i * size, (i + 1) * size));
  }
}

/** Reads the headers of a file; undefined if it is no ELF file. Throws ElfError, or what opening it throws. */
export function readElf(path: string): Elf | undefined {
  const fd = openSync(path, 'r');
  try {
    const ident = Buffer.alloc(IDENT_BYTES);
    if (readSync(fd, ident, 0, IDENT_BYTES, 0) < IDENT_BYTES || !ident.subarray(0, 4).equals(MAGIC)) {
      return undefined;
    }
    return describe(new Reader(fd, ident));
  } finally {
    closeSync(fd);
  }
}

function describe(reader: Reader): Elf {
  const { layout, little } = reader;
  const header = reader.bytes(0, layout.bits === 32 ? 52 : HEADER_BYTES);
  const [size = 0, count = 0, ...sections] = [0, 2, 4, 6, 8].map((i) =>
    reader.u16(header, layout.counts + i),
  );
  const segments = reader.table(reader.word(header, layout.segments), size, count);
  const ofType = (type: number) =>
    segments
      .filter((segment) => reader.u32(segment, 0) === type)
      .map((segment) => reader.contents(segment, layout.segment));
  return {
    architecture: `${layout.bits}-bit ${little ? 'little' : 'big'}-endian machine ${reader.u16(header, 18)}`,
    interpreter: ofType(PT_INTERP)[0]?.toString('utf8').replace(/\0.*$/s, ''),
    go:
      ofType(PT_NOTE).some((note) => hasGoBuildId(reader, note)) ||
      sectionNames(reader, reader.word(header, layout.sections), sections).includes('\0.go.buildinfo\0'),
  };
}

/** A note starts with the length of its name, the length of its contents and its type, 4 bytes each. */
function hasGoBuildId(reader: Reader, notes: Buffer): boolean {
  const name = notes.indexOf('Go\0\0', 12, 'latin1');
  return name >= 12 && reader.u32(notes, name - 12) === 4 && reader.u32(notes, name - 4) === 4;
}

/** The names of all sections, each between NULs; empty where `strip` left no section table. */
function sectionNames(reader: Reader, offset: number, [size = 0, count = 0, index = 0]: number[]): string {
  const smallest = reader.layout.bits === 32 ? 40 : 64;
  if (offset === 0 || count === 0 || index >= count || size < smallest) return '';
  const header = reader.bytes(offset + index * size, size);
  return reader.contents(header, reader.layout.section).toString('latin1');
}
