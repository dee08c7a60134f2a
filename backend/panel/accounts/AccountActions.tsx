import React, { useState } from 'react';
import type { AccountView } from '../../src/admin/views/account.js';
import ActionButton from '../parts/ActionButton.js';
import OneTimeSecret from '../parts/OneTimeSecret.js';
import RoleChoice from './RoleChoice.js';
import type { Notice } from '../parts/NoticeLine.js';

interface AccountActionsProps {
  account: AccountView;
  /** The account is the person's own: only another admin may change its role or switch it off. */
  isOwn: boolean;
  onNotice: (notice: Notice | null) => void;
}

/** The actions of an admin on an account. */
const AccountActions: React.FC<AccountActionsProps> = ({ account, isOwn, onNotice }) => {
  const [role, setRole] = useState<string>(account.role);
  const [secret, setSecret] = useState<string | null>(null);
  const path = `/live/accounts/${account.id}`;
  const onError = (text: string): void => onNotice({ tone: 'bad', text });
  const notify = (text: string) => ({ onDone: () => onNotice({ tone: 'good', text }), onError });
  return (
    <div className="cq-stack">
      {isOwn ? (
        <p className="cq-soft">This is you. Another admin changes your role; you change your password under your name above.</p>
      ) : (
        <>
          <div className="cq-line">
            <RoleChoice value={role} onChange={setRole} />
            <ActionButton
              label="Set role"
              path={`${path}/role`}
              body={{ role }}
              question={`Make ${account.username} ${role}?`}
              consequence="What the account may do changes at once."
              {...notify(`The role is ${role} now.`)}
            />
          </div>
          <ActionButton
            label="Reset password"
            path={`${path}/reset-password`}
            question={`Reset the password of ${account.username}?`}
            consequence="The present password stops working at once, and the account is signed out everywhere."
            onError={onError}
            onDone={(answer) => {
              setSecret((answer as { secret: string }).secret);
              onNotice(null);
            }}
          />
          {secret && (
            <OneTimeSecret
              label="One-time password"
              secret={secret}
              hint="Shown this once. It must be changed at the first login."
            />
          )}
          {account.isActive ? (
            <ActionButton
              label="Switch off"
              path={`${path}/deactivate`}
              tone="danger"
              question={`Switch off the account ${account.username}?`}
              consequence="Its keys, tokens and logins are refused at once, and its sessions stop. Its data stays."
              {...notify('Switched off: keys, tokens and the panel refuse it.')}
            />
          ) : (
            <ActionButton label="Switch on" path={`${path}/activate`} tone="main" {...notify('Switched on.')} />
          )}
        </>
      )}
    </div>
  );
};
export default AccountActions;
