import React, { useState } from 'react';
import { useRecords, useTranslation, type ActionProps } from 'adminjs';
import { Link, useLocation, useNavigate } from 'react-router-dom';
import { root, useRenewal } from '../api.js';
import DownloadLink from './DownloadLink.js';
import ListFilter from './ListFilter.js';
import ListTable from './ListTable.js';
import NoRows from './NoRows.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import MessageSelection from '../messages/MessageSelection.js';
import Pager from './Pager.js';
import { usePlace, useRows } from './place.js';
import { useOnAlerts, useStatus } from '../status.js';

/** The lists of `liveTables` are read again this often, except during a search in texts. Milliseconds. */
const renewMs = 10_000;
const liveTables = ['sessions', 'messages', 'bulk', 'webhooks', 'audit', 'failures'];

/** The list of any table, with search, filters and pages. AdminJS finds it by this name. */
const DefaultListAction: React.FC<ActionProps> = ({ resource }) => {
  const { records, loading, page, perPage, total, sortBy, direction, fetchData } = useRecords(resource.id);
  const { translateAction, translateLabel } = useTranslation();
  const { pathname, search } = useLocation();
  const navigate = useNavigate();
  const searches = search.includes('filters.text') || search.includes('filters.chatName');
  // A server that is silent is asked by the bar at the top alone.
  const isSilent = useStatus().silence !== null;
  useRenewal(fetchData, liveTables.includes(resource.id) && !searches && !isSilent ? renewMs : null);
  useOnAlerts(() => searches || fetchData());
  usePlace(pathname, search, records.length > 0);
  useRows(
    pathname,
    records.map(({ id }) => id),
  );
  const [selected, setSelected] = useState<readonly string[]>([]);
  // What is selected and not on this page any more is left alone: a person decides only on rows that they see.
  const chosen = records.filter(({ id }) => selected.includes(id));
  const canSelect = resource.id === 'messages';
  const renew = (): void => {
    setSelected([]);
    void fetchData();
  };
  const add = resource.resourceActions.find((action) => action.name === 'new');
  const filtered = [...new URLSearchParams(search).keys()].some((key) => key.startsWith('filters.'));
  return (
    <Page>
      <PageHead title={translateLabel(resource.name, resource.id)}>
        {add && (
          <Link className="cq-button cq-main" to={`${root}/resources/${resource.id}/actions/new`}>
            {translateAction(add.label, resource.id)}
          </Link>
        )}
      </PageHead>
      <ListFilter key={resource.id} resource={resource} search={search} onChange={(next) => navigate(`${pathname}?${next}`)} />
      {canSelect && <MessageSelection records={chosen} onDone={renew} />}
      {records.length > 0 && (
        <ListTable
          resource={resource}
          records={records}
          sortBy={sortBy}
          direction={direction}
          selection={canSelect ? { ids: chosen.map(({ id }) => id), onChange: setSelected } : undefined}
        />
      )}
      {records.length === 0 && !loading && <NoRows table={resource.id} filtered={filtered} />}
      <Pager page={page} perPage={perPage} total={total} pathname={pathname} search={search} />
      {records.length > 0 && <DownloadLink table={resource.id} total={total} search={search} />}
    </Page>
  );
};
export default DefaultListAction;
