import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import {
  fileOptionNames,
  fileSpecOf,
  isMediaType,
  mediaTypes,
  messageContent,
  messageTypeTable,
  messageTypes,
  observedContent,
  requestOf,
  requestTypes,
  textOf,
} from '../src/index.js';

/** The table of message types: what the types promise, checked on every row. */

const context = { countryCode: '55' };
const media = { id: 'm', mimetype: 'image/png', size: 1, filename: 'a.png', sha256: null };

describe('the table of message types', () => {
  test.each(messageTypes)('the schemas of %s are of that type', (type) => {
    const { content, observed } = messageTypeTable[type];
    const named = [content, observed].flatMap((schema) => (schema ? [schema.shape.type.value] : []));
    expect([...new Set<string>(named)]).toEqual([type]);
  });

  test('a type that can be sent has a route of its own or consists of a file, and every other type can only arrive', () => {
    const sent = messageTypes.filter((type) => messageTypeTable[type].content);
    expect([...requestTypes, ...mediaTypes].sort()).toEqual([...sent].sort());
    for (const type of requestTypes) expect(isMediaType(type)).toBe(false);
  });

  test.each(requestTypes)('the example of %s becomes content that can be sent', (type) => {
    const request = requestOf(type);
    const content = request.toContent(z.strictObject(request.fields).parse(request.example), context);
    expect(messageContent.parse(content)).toEqual(content);
    expect(content.type).toBe(type);
    expect(() => textOf(content)).not.toThrow();
  });

  test.each(mediaTypes)('a file becomes content of type %s', (type) => {
    const spec = fileSpecOf(type);
    const content = spec.toContent(media, {});
    expect(messageContent.parse(content)).toEqual(content);
    expect(content.type).toBe(type);
    expect(fileOptionNames).toEqual(expect.arrayContaining([...spec.options]));
  });

  test.each(messageTypes)('an empty observed message of type %s is read, not refused', (type) => {
    const content = observedContent.parse({ type });
    expect(content.type).toBe(type);
    expect(textOf(content) ?? '').toBe('');
  });

  test('the order of request fields is that of the stored hashes of requests: fields may be appended, not moved', () => {
    const order = Object.fromEntries(requestTypes.map((type) => [type, Object.keys(requestOf(type).fields)]));
    expect(order).toMatchObject({
      text: ['message', 'linkPreview'],
      location: ['latitude', 'longitude', 'name', 'address'],
      contact: ['contacts'],
      poll: ['question', 'options', 'multiple'],
      calendar_event: ['name', 'description', 'startsAt', 'endsAt', 'location', 'callType'],
      list: ['message', 'title', 'footer', 'buttonText', 'sections'],
      buttons: ['message', 'title', 'footer', 'buttons'],
    });
    expect(fileOptionNames).toEqual(['caption', 'viewOnce', 'hd', 'gif', 'asDocument', 'stickerName', 'stickerAuthor']);
  });
});
