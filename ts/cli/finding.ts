/** The two parts that a machine can play. */
export type Side = 'client' | 'server';

/** What a check of `knockify doctor` found. */
export interface Finding {
  readonly mark: 'ok' | '!!' | '--';
  readonly text: string;
  /** What to do about it. */
  readonly remedy?: string;
  /** What can't work because of it. */
  readonly prevents: readonly Side[];
}

export function ok(text: string): Finding {
  return { mark: 'ok', text, prevents: [] };
}

/** Worth knowing, in nobody's way. */
export function note(text: string): Finding {
  return { mark: '--', text, prevents: [] };
}

export function bad(
  text: string,
  remedy?: string,
  prevents: readonly Side[] = ['client', 'server'],
): Finding {
  return { mark: '!!', text, prevents, ...(remedy !== undefined && { remedy }) };
}

/** `bad` for whatever was thrown; our own errors bring their remedy along. */
export function failure(error: unknown, prevents?: readonly Side[]): Finding {
  return bad(error instanceof Error ? error.message : String(error), undefined, prevents);
}
