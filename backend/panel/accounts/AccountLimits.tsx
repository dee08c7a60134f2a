import React, { useEffect } from 'react';
import type { AccountView } from '../../src/admin/views/account.js';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import { post, usePoll } from '../api.js';
import { useForm } from '../hooks.js';
import PlanSelect from './PlanSelect.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import Meter from '../parts/Meter.js';
import type { Notice } from '../parts/NoticeLine.js';
import { count } from '../words.js';

const usageText = (value: number, limit: number): string => (limit > 0 ? `${count(value)} of ${count(limit)}` : count(value));

interface AccountLimitsProps {
  account: AccountView;
  mayChange: boolean;
  onNotice: (notice: Notice) => void;
}

/** The usage and limits of an account. An admin can change its plan and its own daily limit. */
const AccountLimits: React.FC<AccountLimitsProps> = (props) => {
  const { account, mayChange } = props;
  const { usage, limits } = account;
  return (
    <div className="cq-stack">
      <Meter
        label="Messages today"
        value={usage.today}
        of={limits.dailyMessages}
        text={usageText(usage.today, limits.dailyMessages)}
      />
      <Meter
        label="Messages this month"
        value={usage.thisMonth}
        of={limits.monthlyMessages}
        text={usageText(usage.thisMonth, limits.monthlyMessages)}
      />
      <Meter
        label="Sessions"
        value={account.sessions.length}
        of={limits.maxSessions}
        text={usageText(account.sessions.length, limits.maxSessions)}
      />
      {mayChange ? (
        <>
          <PlanChoice {...props} />
          <DailyLimit {...props} />
        </>
      ) : (
        <p className="cq-soft">Plan: {account.plan?.name ?? 'none'}</p>
      )}
    </div>
  );
};
export default AccountLimits;

const changed: Notice = { tone: 'good', text: 'Changed. It applies from the next request.' };

/** Sets the plan of an account. */
const PlanChoice: React.FC<AccountLimitsProps> = ({ account, onNotice }) => {
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const present = account.plan?.id ?? '';
  const form = useForm({ planId: present }, async ({ planId }) => {
    await post(`/live/accounts/${account.id}/limits`, { planId: planId || null });
    onNotice(changed);
  });
  const { fields, set } = form;
  useEffect(() => set({ planId: present }), [present]);
  return (
    <Form form={form} label="Set plan" look="line">
      <Field label="Plan" name="planId">
        <PlanSelect aria-label="Plan" plans={choices?.plans ?? []} value={fields.planId} onChange={(planId) => set({ planId })} />
      </Field>
    </Form>
  );
};

/** Sets the daily limit that an account has besides its plan. */
const DailyLimit: React.FC<AccountLimitsProps> = ({ account, onNotice }) => {
  const form = useForm({ daily: String(account.maxMessagesPerDay) }, async ({ daily }) => {
    await post(`/live/accounts/${account.id}/limits`, { maxMessagesPerDay: Number(daily) });
    onNotice(changed);
  });
  const { fields, set } = form;
  useEffect(() => set({ daily: String(account.maxMessagesPerDay) }), [account.maxMessagesPerDay]);
  return (
    <Form form={form} label="Set limit" look="line">
      <Field
        label={
          <>
            Own daily limit <small className="cq-soft">0: none</small>
          </>
        }
        name="maxMessagesPerDay"
      >
        <input
          type="number"
          aria-label="Own daily limit"
          min={0}
          required
          value={fields.daily}
          onChange={(event) => set({ daily: event.target.value })}
        />
      </Field>
    </Form>
  );
};
