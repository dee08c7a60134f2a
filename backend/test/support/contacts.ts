import type { Contacts } from '../../src/contacts/contacts.js';
import { noPeople } from '../../src/contacts/people.js';

/** Contacts of a backend that knows no people, for tests of other subjects. */
export const noContacts: Pick<Contacts, 'people' | 'formsOf'> = {
  people: () => Promise.resolve(noPeople),
  formsOf: (_accountId, waId) => Promise.resolve([waId]),
};
