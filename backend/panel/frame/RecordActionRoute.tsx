import React, { useEffect, useState } from 'react';
import { BaseActionComponent, useResource, useTranslation, type RecordJSON } from 'adminjs';
import { useParams } from 'react-router-dom';
import { readRecord, root } from '../api.js';
import MissingRecord from './MissingRecord.js';
import NotFound from './NotFound.js';

/** How soon a record is read again that the server could not give. Milliseconds. */
const againMs = 3_000;

type Read = 'reading' | 'silent' | 'missing' | RecordJSON;

/** Reads a record, and again until the server answers. */
function useRecordOnce(resourceId: string, recordId: string): Read {
  const [read, setRead] = useState<Read>('reading');
  useEffect(() => {
    let isCurrent = true;
    let timer = 0;
    const ask = (): void => {
      readRecord<RecordJSON>(resourceId, recordId).then(
        (record) => isCurrent && setRead(record ?? 'missing'),
        () => {
          if (!isCurrent) return;
          setRead('silent');
          timer = window.setTimeout(ask, againMs);
        },
      );
    };
    setRead('reading');
    ask();
    return () => {
      isCurrent = false;
      window.clearTimeout(timer);
    };
  }, [resourceId, recordId]);
  return read;
}

/** The page of one record. AdminJS finds it by this name; its own says of a missing record that its resource does not have an action. */
const RecordActionRoute: React.FC = () => {
  const { resourceId = '', recordId = '', actionName = '' } = useParams();
  const resource = useResource(resourceId);
  const { translateAction, translateLabel } = useTranslation();
  const read = useRecordOnce(resourceId, recordId);
  if (!resource) return <NotFound title="There is no such page" text="The address may be old." />;
  const back = { to: `${root}/resources/${resourceId}`, label: translateLabel(resource.name, resourceId) };
  const name = translateAction('show', resourceId);
  if (read === 'reading') return <MissingRecord title={name} back={back} below="Loading …" />;
  if (read === 'silent') return <MissingRecord title={name} back={back} below="The server does not answer. Trying again." />;
  const action = read === 'missing' ? undefined : read.recordActions.find((one) => one.name === actionName);
  if (read === 'missing' || !action)
    return (
      <NotFound
        title={`${name} not found`}
        text="It was deleted, or the address is wrong. Look for it in the list."
        back={back}
      />
    );
  return <BaseActionComponent key={read.id} action={action} resource={resource} record={read} />;
};
export default RecordActionRoute;
