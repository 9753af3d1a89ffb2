import type { Engine } from '../engine/engine.ts';
import type { Message } from '../spec/codec.ts';
import { MAX_PROTECTED_LENGTH } from '../spec/messages.ts';
import { padSecret } from '../stealth/secret.ts';
import { inspecting } from './listening.ts';
import { type ProgramStealth, readNote, updateNote } from './note.ts';
import { type Verdict, verdict } from './verdict.ts';

/** The socket options of the Knock patch (thesis section 6.2). */
const TCP_STEALTH = 26;
const TCP_STEALTH_INTEGRITY = 27;

const SECRET_SIZE = 64;
const LONGEST = 0xffff;

const EINVAL = 22;
const EOPNOTSUPP = 95;

function fail(error: number, text?: string): Verdict {
  return verdict('refuse', text === undefined ? { error } : { error, text });
}

function asInt(value: Uint8Array): number {
  return Buffer.from(value.buffer, value.byteOffset, value.length).readInt32LE(0);
}

/** The listener listens: what it checks from now on is what it was told last. */
function apply(engine: Engine, fd: number, { secret, protectedLength }: ProgramStealth): Verdict {
  if (engine.phase(fd) !== 'guarded') return verdict('done');
  const protection = { secret, protectedLength };
  engine.guard(fd, protection, readNote(engine, fd).listener);
  engine.records?.change(fd, protection);
  updateNote(engine, fd, { listener: protection });
  return verdict('done', inspecting(engine, protection));
}

/** Setting the secret begins anew: without integrity protection. */
function setSecret(engine: Engine, fd: number, { length, value }: Message<'option'>): Verdict {
  if (length > SECRET_SIZE) return fail(EINVAL);
  if (value.every((byte) => byte === 0))
    return fail(EINVAL, 'TCP_STEALTH: the secret is empty; anybody could compute its tokens');
  const program = { secret: padSecret(value), protectedLength: 0, payload: new Uint8Array() };
  updateNote(engine, fd, { program });
  return apply(engine, fd, program);
}

/** Draft section 3.2: at most the first segment. What every path carries in one segment is not known beforehand. */
function lengthError(name: string, length: number): Verdict | undefined {
  if (length < 1 || length > LONGEST) return fail(EINVAL);
  if (length <= MAX_PROTECTED_LENGTH) return undefined;
  const text = `${name}: ${length} bytes; more than ${MAX_PROTECTED_LENGTH} need not fit into the first segment`;
  return fail(EINVAL, text);
}

/** Sets TCP_STEALTH, TCP_STEALTH_INTEGRITY or TCP_STEALTH_INTEGRITY_LEN as a kernel with the patch would. */
export function setOption(engine: Engine, fd: number, message: Message<'option'>): Verdict {
  engine.phase(fd);
  if (message.option === TCP_STEALTH) return setSecret(engine, fd, message);
  const { program } = readNote(engine, fd);
  if (program === undefined) return fail(EOPNOTSUPP);
  if (message.option === TCP_STEALTH_INTEGRITY) {
    const wrong = lengthError('TCP_STEALTH_INTEGRITY', message.length);
    if (wrong !== undefined) return wrong;
    updateNote(engine, fd, { program: { ...program, payload: message.value } });
    return verdict('done');
  }
  if (message.value.length < 4) return fail(EINVAL);
  const protectedLength = asInt(message.value);
  const wrong = lengthError('TCP_STEALTH_INTEGRITY_LEN', protectedLength);
  if (wrong !== undefined) return wrong;
  const changed = { ...program, protectedLength };
  updateNote(engine, fd, { program: changed });
  return apply(engine, fd, changed);
}
