import { fileURLToPath } from 'node:url';
import type { FailPoint } from '@chasqui/shared/fail-point';
import type { Victim } from './plan.js';

/** A defence that is removed from the built processes as they load. The matrix must find each mutation, or it proves nothing. */
export interface Mutant {
  what: string;
  /** File below the repository (built), the text in it, and what it becomes. */
  changes: { file: string; find: string; become: string }[];
  /** The fail points at which the fault shows. */
  points: FailPoint[];
  victims: Victim[];
}

const sender = 'whatsapp-service/dist/sends/sender.js';
const claim = 'backend/dist/messages/send/claim.js';

/**
 * Any one of the defences of a send is enough: without the claim the worker's record answers, without the record the page knows the
 * message by its id. So the mutation that matters removes the reserved id itself.
 */
export const mutants = {
  reservation: {
    what: 'no id is reserved: each call uses a random one, and nothing records that a message is about to be sent',
    changes: [
      {
        file: claim,
        find: 'const isClaimed = await state.move(tx, message, "sending", { from: ["queued"], where, fields });',
        become: 'const isClaimed = true;',
      },
      {
        file: 'backend/dist/whatsapp/worker-gateway.js',
        find: 'reservedId: message.whatsappKey',
        become:
          'reservedId: `3EB0${[...Array(18)].map(() => Math.floor(Math.random() * 16).toString(16).toUpperCase()).join("")}`',
      },
      { file: sender, find: 'record.accept({ ...id, reservedId, attempt: number });', become: '' },
      { file: sender, find: 'record.handOver(messageId);', become: '' },
      { file: sender, find: 'record.settle(messageId, outcome);', become: 'return outcome;' },
    ],
    points: ['send.answered', 'outcome.received'],
    victims: ['backend', 'worker'],
  },
  outlet: {
    what: 'the worker forgets events as soon as it has sent them',
    changes: [
      {
        file: 'whatsapp-service/dist/events/delivery.js',
        find: 'const reply = await post(context, events);',
        become: 'outlet.acknowledge(events.at(-1).cursor); const reply = await post(context, events);',
      },
    ],
    points: ['inbox.written'],
    victims: ['backend'],
  },
  ack0: {
    what: 'a lookup that finds a message with ack 0 counts as proof that it was sent',
    changes: [
      {
        file: 'whatsapp-service/dist/http/routes.js',
        find: 'if (output.found && output.ack >= 1)',
        become: 'if (output.found)',
      },
    ],
    points: ['lookup.unacknowledged'],
    victims: ['chromium'],
  },
} as const satisfies Record<string, Mutant>;
export type MutantName = keyof typeof mutants;

/** The Node options that load a process with the mutation. */
export const mutated = (name: MutantName): Record<string, string> => ({
  NODE_OPTIONS: `--import ${fileURLToPath(new URL('./load-mutant.js', import.meta.url))}`,
  CHASQUI_MUTANT: JSON.stringify(mutants[name].changes),
});
