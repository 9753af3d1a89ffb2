/**
 * The life of a stealth connect, as the control process runs it. An authentication-only connect goes from idle
 * to armed at once; with integrity protection the connect is faked, and the SYN waits for the protected bytes
 * (thesis section 4.2.1). The diagram in the documentation is drawn from these tables.
 */

export const states = {
  idle: 'the application has not connected',
  deferred: 'connect() has said yes, no byte was written, no SYN was sent',
  buffering: 'n of the N protected bytes are gathered, no SYN was sent',
  armed: 'the token is computed; the real connect() is due or under way',
  connected: 'the handshake is done and the gathered bytes are sent',
  failed: 'no SYN without a token leaves; the socket may connect anew',
} as const;

export type State = keyof typeof states;

export const events = {
  connect: 'connect() without integrity protection',
  fake: 'connect() with integrity protection',
  gather: 'a write that leaves fewer than N bytes',
  complete: 'a write that completes the N bytes',
  retry: 'the write again, after EAGAIN',
  pending: 'the real connect() is in progress',
  sent: 'the real connect() succeeded and the bytes were taken by the kernel',
  error: 'refused, unreachable, a wrong retry, or the engine failed',
} as const;

export type Event = keyof typeof events;

/** Every transition there is; an event without one is a mistake of the peer. */
export const transitions: { readonly [S in State]: { readonly [E in Event]?: State } } = {
  idle: { connect: 'armed', fake: 'deferred', error: 'failed' },
  deferred: { gather: 'buffering', complete: 'armed', error: 'failed' },
  buffering: { gather: 'buffering', complete: 'armed', error: 'failed' },
  armed: { retry: 'armed', pending: 'armed', sent: 'connected', error: 'failed' },
  connected: {},
  failed: { connect: 'armed', fake: 'deferred', error: 'failed' },
};
