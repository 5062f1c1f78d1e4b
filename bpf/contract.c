/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Never loaded: a user of every type that Python must know, so that they are in its BTF. */
#include "event.h"

struct contract {
	struct record record;
	struct config config;
	struct flow_key flow_key;
	struct socket_owner owner;
	enum limits limits;
	enum section section;
	enum arrival_tag tag;
	enum nft_step step;
	enum event_flags flags;
	enum event_target target;
	enum event_context context;
	enum event_l3 l3;
	enum event_ids ids;
	enum ct_state ct_state;
	enum map_function map_function;
	enum cookie cookie;
	enum copy copy;
	enum session session;
	enum arguments_table arguments;
	enum counter counter;
} contract;
