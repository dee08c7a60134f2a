import React from 'react';
import { useRecords, useTranslation, type ActionProps } from 'adminjs';
import { Link, useLocation, useNavigate } from 'react-router-dom';
import { root, useRenewal } from '../api.js';
import ListFilter from './ListFilter.js';
import ListTable from './ListTable.js';
import NoRows from './NoRows.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import Pager from './Pager.js';
import { usePlace } from './place.js';

/** The lists of `liveTables` are read again this often, except during a search in texts. Milliseconds. */
const renewMs = 10_000;
const liveTables = ['sessions', 'messages', 'bulk', 'audit', 'failures'];

/** The list of any table, with search, filters and pages. AdminJS finds it by this name. */
const DefaultListAction: React.FC<ActionProps> = ({ resource }) => {
  const { records, loading, page, perPage, total, sortBy, direction, fetchData } = useRecords(resource.id);
  const { translateAction, translateLabel } = useTranslation();
  const { pathname, search } = useLocation();
  const navigate = useNavigate();
  const searches = search.includes('filters.text') || search.includes('filters.chatName');
  useRenewal(fetchData, liveTables.includes(resource.id) && !searches ? renewMs : null);
  usePlace(pathname, search, records.length > 0);
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
      {records.length > 0 && <ListTable resource={resource} records={records} sortBy={sortBy} direction={direction} />}
      {records.length === 0 && !loading && <NoRows table={resource.id} filtered={filtered} />}
      <Pager page={page} perPage={perPage} total={total} pathname={pathname} search={search} />
    </Page>
  );
};
export default DefaultListAction;
