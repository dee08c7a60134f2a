import type { ErrorCode, OperationId, OperationIdOf, OperationInput, OperationNoun, OperationOutput } from '@chasqui/shared';
import type { EngineFile, EngineSession, EngineSignal } from '../../../src/engine/engine.js';
import type { Rig } from '../harness.js';

/** A linked session, and what it signalled. */
export interface Stage {
  rig: Rig;
  session: EngineSession;
  signals: EngineSignal[];
}

type InputOf<Id extends OperationId> = Partial<OperationInput<Id>> & Record<string, unknown>;

/** How one operation is tried: on every build, and with each fault on the newest. A row of the table without its scenario does not compile. */
export interface Scenario<Id extends OperationId, World = unknown> {
  /** Makes what the operation is about, new for each run, and returns its input. */
  arrange(stage: Stage): Promise<{ input: InputOf<Id>; world: World; file?: EngineFile }>;
  /** Looks at the output, and at the effect where others see it: on the other phone, in the simulator. Throws. */
  verify(stage: Stage, world: World, output: OperationOutput<Id>): Promise<void>;
  /**
   * The operation of the page's connection that carries it (`simulator/src/line`): faults are set on it. Null: the page answers alone, so there is
   * no request that could be refused or lost.
   */
  line: string | null;
  /** The error when WhatsApp's server refuses with 403. `WHATSAPP_REFUSED` if absent; null: it is an answer, and the operation succeeds. */
  refusedAs?: ErrorCode | null;
  /**
   * For a write: the functions of the page that carry it, by module. They are made hollow: they resolve and do nothing. By default those that the
   * operation needs, without those that only read. Null: it asks nothing of WhatsApp's page.
   */
  hollow?: Record<string, string[]> | null;
  /** The error when they are hollow, if it is not `OPERATION_TIMEOUT`: the operation reads WhatsApp's answer and there is none. The effect is unknown. */
  hollowAs?: ErrorCode;
  /** The module that is taken away to see 501. The first one that the operation needs if absent; null: it needs none. */
  without?: string | null;
}

// Scenarios of all worlds in one table: each one's `verify` gets only what its own `arrange` made.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Scenarios<Noun extends OperationNoun> = { [Id in OperationIdOf<Noun>]: Scenario<Id, any> };

/** Infers the world of a scenario. */
export const scenario = <Id extends OperationId, World>(_id: Id, given: Scenario<Id, World>): Scenario<Id, World> => given;
