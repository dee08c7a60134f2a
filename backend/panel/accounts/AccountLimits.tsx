import React, { useEffect, useState } from 'react';
import type { AccountView } from '../../src/admin/views/account.js';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import ActionButton from '../parts/ActionButton.js';
import { usePoll } from '../api.js';
import Meter from '../parts/Meter.js';
import type { Notice } from '../parts/NoticeLine.js';
import { count } from '../words.js';

const usageText = (value: number, limit: number): string => (limit > 0 ? `${count(value)} of ${count(limit)}` : count(value));

/** The usage and limits of an account. An admin can change its plan and its own daily limit. */
const AccountLimits: React.FC<{ account: AccountView; mayChange: boolean; onNotice: (notice: Notice) => void }> = (props) => {
  const { account, mayChange, onNotice } = props;
  const { usage, limits } = account;
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const [planId, setPlanId] = useState(account.plan?.id ?? '');
  const [daily, setDaily] = useState(account.maxMessagesPerDay);
  useEffect(() => setPlanId(account.plan?.id ?? ''), [account.plan?.id]);
  useEffect(() => setDaily(account.maxMessagesPerDay), [account.maxMessagesPerDay]);
  const notify = {
    onDone: () => onNotice({ tone: 'good', text: 'Changed. It applies from the next request.' }),
    onError: (text: string) => onNotice({ tone: 'bad', text }),
  };
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
          <div className="cq-line">
            <label>
              Plan{' '}
              <select aria-label="Plan" value={planId} onChange={(event) => setPlanId(event.target.value)}>
                <option value="">none</option>
                {(choices?.plans ?? []).map((plan) => (
                  <option key={plan.id} value={plan.id}>
                    {plan.name}
                  </option>
                ))}
              </select>
            </label>
            <ActionButton
              label="Set plan"
              path={`/live/accounts/${account.id}/limits`}
              body={{ planId: planId || null }}
              {...notify}
            />
          </div>
          <div className="cq-line">
            <label>
              Own daily limit <small className="cq-soft">0: none</small>{' '}
              <input
                type="number"
                min={0}
                aria-label="Own daily limit"
                value={daily}
                onChange={(event) => setDaily(Number(event.target.value))}
              />
            </label>
            <ActionButton
              label="Set limit"
              path={`/live/accounts/${account.id}/limits`}
              body={{ maxMessagesPerDay: daily }}
              {...notify}
            />
          </div>
        </>
      ) : (
        <p className="cq-soft">Plan: {account.plan?.name ?? 'none'}</p>
      )}
    </div>
  );
};
export default AccountLimits;
