import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { ConfigError } from '../config/error.ts';
import { readFolder, wipe } from '../control/secretFolder.ts';
import { SecretSet } from '../control/secretSet.ts';
import { refusalText, SecretWatch } from '../control/secretWatch.ts';
import type { Engine } from '../engine/engine.ts';
import { DEFAULT_SECRETS } from './environment.ts';

export interface KeptSecrets {
  readonly set: SecretSet;
  /** Looks at the folder now, whatever was noticed. */
  look(): void;
  close(): void;
}

interface Tell {
  readonly say: (text: string) => void;
  readonly complain: (text: string) => void;
}

/**
 * Has the engine accept what is in a folder of named secrets from now on: by default the usual one, which need not be there;
 * false is none at all, and then what others put into the engine stays as it is. `own` is the control process's own secret.
 * Throws ConfigError where a folder that was asked for can't be used.
 */
export function keepSecrets(
  engine: Engine,
  folder: string | false | undefined,
  { own, tell }: { readonly own: Uint8Array | undefined; readonly tell: Tell },
): KeptSecrets | undefined {
  if (folder === false) return undefined;
  const path = resolve(folder ?? DEFAULT_SECRETS);
  if (engine.secrets === undefined) {
    const why = `${path}: a kernel with the Knock patch knows no named secrets; KNOCK_ENGINE=stock does`;
    if (folder !== undefined) throw new ConfigError(why);
    if (existsSync(path)) tell.complain(why);
    return undefined;
  }
  const user = process.geteuid?.() ?? 0;
  if (folder !== undefined) checkUsable(path, user);
  const set = new SecretSet(path, engine.secrets, own);
  const watch = new SecretWatch(set, { user, mayBeMissing: folder === undefined, ...tell });
  watch.look();
  const close = () => {
    watch.close();
    set.resign();
  };
  return { set, look: () => watch.look(), close };
}

function checkUsable(path: string, user: number): void {
  const { found, refused } = readFolder(path, { user, now: Date.now() });
  wipe(found);
  const problem = refused.find((one) => one.path === path);
  if (problem !== undefined) throw new ConfigError(`--secrets ${refusalText(problem)}`);
}
