import type { Message } from '../spec/codec.ts';
import type { Surroundings } from './surroundings.ts';
import { type Told, told } from './telling.ts';
import { notAdmitted, refuse, type Verdict } from './verdict.ts';

/** What a client is told. */
export type Answer = Verdict | Told;

/** A client that wants to see what happens. */
export interface Tool {
  readonly uid: number;
  /** Ends what it follows. */
  unfollow?: () => void;
}

type Question = Message<'status' | 'follow'>;

export function isQuestion(message: Message): message is Question {
  return message.kind === 'status' || message.kind === 'follow';
}

/** Answers it, or has it told from now on; `send` returns false where the client reads too slowly. Never throws. */
export function answerTool(
  { telling, admits, log }: Surroundings,
  tool: Tool,
  question: Question,
  send: (event: Told) => boolean,
): Answer | undefined {
  const { uid } = tool;
  if (!admits(uid)) return notAdmitted(uid);
  if (telling === undefined) return refuse('this control process tells nothing');
  try {
    if (question.kind === 'status') return telling.status.status(tool, question.from);
    tool.unfollow?.();
    const whose = telling.status.seesAll(uid) ? 'all' : uid;
    tool.unfollow = telling.events.follow(whose, Date.now() - question.age, (event) => send(told(event)));
    return undefined;
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    log.error(`telling user ${uid}: ${text}`, { uid });
    return refuse(text);
  }
}
