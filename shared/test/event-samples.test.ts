import { expect, test } from '@jest/globals';
import { eventCatalogue, eventSamples, eventTypes } from '../src/index.js';

test.each(eventTypes)('the sample of %s has exactly the fields of its schema', (type) => {
  const { data } = eventCatalogue[type];
  // Fields that the schema does not know are removed by parsing.
  expect(data.parse(eventSamples[type])).toEqual(eventSamples[type]);
});
