/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import type { PageCore } from '../page/world.js';
import { change, wasAccepted } from './change.js';
import { need, read, type OperationHandlers } from './context.js';
import { withContacts, type Dated } from './message-reads.js';

type Answers = 'messages.votes' | 'messages.vote' | 'messages.calendarResponse';

const votes = need('WAWebPollsVotesSchema', 'getTable');
/** WhatsApp's numbers of the answers. */
const responses = { going: 1, not_going: 2, maybe: 3 } as const;

/** Answers to polls and to calendar events. */
export const polls: Pick<OperationHandlers<'messages'>, Answers> = {
  'messages.votes': read('messages.votes', {
    needs: [votes],
    async run({ whatsappId }, context) {
      const found = await context.inPage(votesIn, { whatsappId });
      return withContacts(context, found, ({ options }) => ({ options }));
    },
  }),
  'messages.vote': change('messages.vote', {
    needs: [need('WAWebPollsSendVoteMsgAction', 'sendVote'), votes],
    prepare: ({ whatsappId, options }) => ({ whatsappId, options: [...new Set(options)] }),
    before: requireOptions,
    act: vote,
    effect: showsVote,
    done: async (_input, _context, { given }) => ({ options: given.options }),
  }),
  'messages.calendarResponse': change('messages.calendarResponse', {
    needs: [need('WAWebSendEventResponseMsgAction', 'sendEventResponseMsg')],
    prepare: ({ whatsappId, response }) => ({ whatsappId, response: responses[response] }),
    before: requireEvent,
    act: respond,
    effect: wasAccepted,
    done: async ({ response }) => ({ response }),
  }),
};

interface Vote {
  whatsappId: string;
  /** Names of options. */
  options: string[];
}
interface Response {
  whatsappId: string;
  response: number;
}

/** Runs in the page. WhatsApp stores the votes in a channel in another table, which has their number and not who voted. */
async function votesIn(core: PageCore, { whatsappId }: { whatsappId: string }): Promise<(Dated & { options: string[] })[]> {
  const message = await core.requireMessage(whatsappId);
  if (message.type !== 'poll_creation')
    core.refuse('VALIDATION_FAILED', {
      fields: [{ path: 'messageId', code: 'NOT_A_POLL', message: 'This message is not a poll.' }],
    });
  if (/@newsletter$/.test(core.serialized(message.id.remote)))
    core.refuse('NOT_SUPPORTED_BY_WHATSAPP', { reason: 'WhatsApp counts the votes in a channel and does not say who voted.' });
  const rows = await core.votesOf(message);
  const nameOf = (localId: number): string[] =>
    message.pollOptions.flatMap((option: any) => (option.localId === localId ? [String(option.name)] : []));
  return rows
    .slice(0, 2_000)
    .map((row) => ({
      id: core.serialized(row.sender),
      t: row.senderTimestampMs ?? null,
      options: [...(row.selectedOptionLocalIds ?? [])].flatMap((id: any) => nameOf(Number(id))),
    }))
    .filter(({ options }) => options.length > 0);
}

/**
 * Runs in the page. Refuses unknown options, which WhatsApp's own function ignores, and channels, whose votes are not in the table in which the effect is
 * looked for. Returns the numbers of the options.
 */
async function requireOptions(core: PageCore, { whatsappId, options }: Vote): Promise<number[]> {
  const message = await core.requireMessage(whatsappId);
  const invalid = (path: string, code: string, text: string): never =>
    core.refuse('VALIDATION_FAILED', { fields: [{ path, code, message: text }] });
  if (message.type !== 'poll_creation') invalid('messageId', 'NOT_A_POLL', 'This message is not a poll.');
  if (/@newsletter$/.test(core.serialized(message.id.remote)))
    core.refuse('NOT_SUPPORTED_BY_WHATSAPP', { reason: 'WhatsApp Web does not show whether a vote in a channel was counted.' });
  if (message.pollSelectableOptionsCount === 1 && options.length > 1)
    invalid('options', 'ONE_OPTION', 'This poll takes one option.');
  return options.map((name) => {
    const known = message.pollOptions.find((option: any) => option.name === name);
    return known ? Number(known.localId) : invalid('options', 'UNKNOWN_OPTION', `The poll has no option “${name}”.`);
  });
}

/** Runs in the page. */
async function vote(core: PageCore, { whatsappId }: Vote, localIds: number[]): Promise<void> {
  const message = await core.requireMessage(whatsappId);
  await core.module('WAWebPollsSendVoteMsgAction').sendVote(message, new Set(localIds));
}

/** Runs in the page. Whether the account's newest vote is this one. */
async function showsVote(core: PageCore, { whatsappId }: Vote, localIds: number[]): Promise<boolean> {
  const message = await core.requireMessage(whatsappId);
  const own = (await core.votesOf(message)).find((row) => core.me().some((id) => core.isSame(id, row.sender)));
  const chosen = [...(own?.selectedOptionLocalIds ?? [])].map(Number).sort();
  return JSON.stringify(chosen) === JSON.stringify([...localIds].sort());
}

/** Runs in the page. */
async function requireEvent(core: PageCore, { whatsappId }: Response): Promise<void> {
  const message = await core.requireMessage(whatsappId);
  if (message.type !== 'event_creation')
    core.refuse('VALIDATION_FAILED', {
      fields: [{ path: 'messageId', code: 'NOT_AN_EVENT', message: 'This message is not a calendar event.' }],
    });
}

/** Runs in the page. */
async function respond(core: PageCore, { whatsappId, response }: Response): Promise<true> {
  const message = await core.requireMessage(whatsappId);
  await core.module('WAWebSendEventResponseMsgAction').sendEventResponseMsg(response, message);
  return true;
}
