import { DEFAULT_SOCKET } from '../spec/messages.ts';

/** A variable that says where things are and how they are done: no setting of an application, and in no rc file. */
export interface VariableSpec {
  readonly name: string;
  /** What applies when it is not set. */
  readonly default: string;
  /** What a value must be, as the end of a message: "must be ...". */
  readonly rule: string;
  readonly example: string;
  readonly description: string;
}

export const CONTROL: VariableSpec = {
  name: 'KNOCK_CONTROL',
  default: DEFAULT_SOCKET,
  rule: "the path of the control process's socket",
  example: '/run/user/1000/knockify.sock',
  description:
    'Where programs find the control process, and where it listens unless --socket says otherwise.',
};

export const RC: VariableSpec = {
  name: 'KNOCK_RC',
  default: '~/.knockrc',
  rule: 'the name of a file that exists and that nobody else can read or write',
  example: '/etc/knockify/client.rc',
  description: 'The file with settings to use in place of ~/.knockrc.',
};

export const ENGINE: VariableSpec = {
  name: 'KNOCK_ENGINE',
  default: 'auto',
  rule: 'auto, stock or knock',
  example: 'stock',
  description:
    "How the control process works: with what every kernel has (stock) or with the Knock patch's own socket " +
    'options (knock). With auto it looks which of the two the kernel is.',
};

/** Where named secrets are, unless --secrets says otherwise. */
export const DEFAULT_SECRETS = '/etc/knockify/secrets.d';

export const VARIABLES: readonly VariableSpec[] = [CONTROL, RC, ENGINE];
