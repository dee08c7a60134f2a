import { describe, expect, test } from '@jest/globals';
import { observedMessage } from '@chasqui/shared';
import { bareEvent } from '../src/events/payload.js';
import { createSessionSettings } from '../src/sessions/session-settings.js';

const log = { error: () => undefined, warn: () => undefined, info: () => undefined, debug: () => undefined, isDebug: false };
const clock = { after: () => undefined } as never;
const contentOf = (message: string, keywords: readonly string[]) => {
  const observed = observedMessage.parse({ key: 'K', content: { type: 'text', message } });
  const { payload } = bareEvent({ event: 'message.observed', payload: { message: observed, origin: 'live' } }, new Set(keywords));
  return (payload as { message: { content: unknown } }).message.content;
};

describe('texts of a session that stores only metadata', () => {
  test('a keyword is reported as its word', () => {
    expect(contentOf(' STOP! ', ['stop', 'start'])).toEqual({ type: 'withheld', of: 'text', keyword: 'stop' });
  });

  test.each(['please stop', 'secret', '', '!'])('of %j nothing is reported', (text) => {
    expect(contentOf(text, ['stop', 'start'])).toEqual({ type: 'withheld', of: 'text' });
  });

  test('without keywords nothing is reported of any text', () => {
    expect(contentOf('STOP', [])).toEqual({ type: 'withheld', of: 'text' });
  });

  test('the words are those that the backend sent last, and stay while it sends none', () => {
    const settings = createSessionSettings({ clock, log: log as never, strip: () => true });
    expect([...settings.keywords('s')]).toEqual([]);
    settings.apply('s', { storage: 'metadata', keywords: ['stop'] });
    settings.apply('s', { storage: 'metadata' });
    expect([...settings.keywords('s')]).toEqual(['stop']);
    settings.apply('s', { storage: 'metadata', keywords: ['raus'] });
    expect([...settings.keywords('s')]).toEqual(['raus']);
    expect([...settings.keywords('other')]).toEqual([]);
  });
});
