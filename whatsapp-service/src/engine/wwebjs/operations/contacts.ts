import { parseRecipient } from '@chasqui/shared';
import { need, read, type OperationHandlers } from './context.js';

export const contacts: OperationHandlers<'contacts'> = {
  /**
   * Checks at WhatsApp which numbers are registered. An input that is not a number counts as not registered, without a query. `normalised`
   * is the number as WhatsApp writes it, which may differ from the input; for a number that is not registered it is the input's.
   */
  'contacts.check': read('contacts.check', {
    needs: [need('WAWebQueryExistsJob', 'queryWidExists')],
    async run({ numbers, countryCode }, { call, identities }) {
      const parsed = numbers.map((input) => ({ input, id: personId(input, countryCode) }));
      const ids = [...new Set(parsed.flatMap(({ id }) => id ?? []))];
      const answers = ids.length > 0 ? await call<{ id: string; wid: string | null }[]>('exists', { ids }) : [];
      const registered = new Map(answers.flatMap(({ id, wid }) => (wid === null ? [] : [[id, wid] as const])));
      await identities.learn([...registered.values()]);
      return parsed.map(({ input, id }) => {
        const wid = id === null ? undefined : registered.get(id);
        if (wid === undefined) return { input, normalised: id, registered: false, contact: null };
        const contact = identities.contact(wid);
        return { input, normalised: contact.phone ? contact.id : id, registered: true, contact };
      });
    },
  }),
};

/** The id of a person for what a caller wrote. Null: it is not a person's number. */
function personId(input: string, countryCode: string | undefined): string | null {
  const result = parseRecipient(input, countryCode);
  return result.ok && (result.address.kind === 'phone' || result.address.kind === 'lid') ? result.address.id : null;
}
