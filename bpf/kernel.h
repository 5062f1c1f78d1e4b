/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The kernel's structures, as far as the programs read them. Only names and
 * types matter: libbpf rewrites every offset for the running kernel (CO-RE).
 */
#ifndef PWRU_KERNEL_H
#define PWRU_KERNEL_H

#include <linux/types.h>
#include <stdbool.h>

/* bio_vec before 6.9 (commit 21d2e6737c97): the same three, in the same order: not relocated. */
struct skb_frag {
	__u64 netmem; /* struct page *, or with bit 0 set memory that no CPU sees */
	unsigned int len;
	unsigned int offset;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct net {
	__u64 net_cookie; /* atomic64_t until 5.12 (3d368ab87cf6), and 0 until somebody asks */
	__u32 hash_mix;   /* random */
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	char name[16];
	int ifindex;
	unsigned int mtu;
	unsigned short type;
	possible_net_t nd_net;
};

struct xdp_rxq_info {
	struct net_device *dev;
};

struct xdp_buff {
	unsigned char *data;
	unsigned char *data_end;
	unsigned char *data_hard_start;
	struct xdp_rxq_info *rxq;
};

struct nf_hook_state {
	__u8 hook; /* unsigned int once */
	__u8 pf;
	struct net_device *in;
	struct net_device *out;
	struct net *net;
};

/* The one at work on a CPU is in the variable current_kprobe. */
struct kprobe {
	void *addr;
};

struct cgroup;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct kernfs_node {
	__u64 id; /* the inode number of the group's directory */
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

/*
 * Until 5.14 (commit 8520e224f547): a pointer whose lowest bits are flags; with the first of them
 * it is none, but what net_cls and net_prio of cgroup v1 say.
 */
struct sock_cgroup_data___flags {
	__u64 val;
};

struct sock_common {
	unsigned short skc_family;
	unsigned char skc_state; /* volatile there */
	unsigned char skc_reuseport : 1;
	possible_net_t skc_net;
	struct sock *skc_listener; /* of a connection that is being made */
};

struct inode {
	__u16 i_mode;
	unsigned long i_ino;
};

struct socket {
	short type;
};

/* A socket as a process has it. */
struct socket_alloc {
	struct socket socket;
	struct inode vfs_inode;
};

struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket; /* NULL: no process has taken it yet, or all have closed it */
	struct sock_cgroup_data sk_cgrp_data;
};

struct file {
	struct inode *f_inode;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

typedef struct {
	int counter;
} atomic_t;

struct refcount_struct {
	atomic_t refs;
};

struct sk_buff {
	struct sk_buff *next;
	struct net_device *dev;
	struct sock *sk;
	unsigned long _skb_refdst;
	unsigned int len;
	unsigned int data_len;
	int skb_iif;
	char cb[48];
	unsigned long _nfct; /* with CONFIG_NF_CONNTRACK */
	__be16 vlan_proto;
	__u16 vlan_tci;
	__u32 mark;
	__be16 protocol;
	__u16 network_header;
	__u16 mac_header;
	unsigned int tail; /* sk_buff_data_t: an offset on 64-bit kernels */
	unsigned int end;
	unsigned char *head;
	unsigned char *data;
	__u8 encapsulation : 1;
	__u16 inner_network_header;
	__u16 inner_mac_header;
	struct refcount_struct users;
};

/*
 * Until 6.2 a bit of its own said that the tag in vlan_tci is valid; commit
 * 354259fa73e2 removed it: vlan_proto or vlan_tci being set says so since.
 */
struct sk_buff___vlan_present {
	__u8 vlan_present : 1;
};

struct skb_shared_info {
	__u8 nr_frags;
	struct sk_buff *frag_list;
	struct skb_frag frags[1];
};

struct css_set {
	struct cgroup *dfl_cgrp; /* of cgroup v2 */
};

struct task_struct {
	int tgid;
	char comm[16];
	struct task_struct *group_leader;
	struct files_struct *files;
	struct css_set *cgroups;
};

struct task_struct___rt {
	int softirq_disable_cnt;
};

#pragma clang attribute pop

#if defined(__TARGET_ARCH_x86)
#include "arch/x86.h"
#else
#error "no file for this architecture in bpf/arch yet"
#endif

#define AF_UNSPEC 0 /* of a tun or tap device */
#define AF_UNIX 1
#define AF_NETLINK 16
#define AF_PACKET 17
#define S_IFMT 0170000 /* include/uapi/linux/stat.h */
#define S_IFSOCK 0140000
#define TCP_TIME_WAIT 6            /* include/net/tcp_states.h: no struct sock as others are */
#define TCP_NEW_SYN_RECV 12        /* likewise */
#define SOFTIRQ_SERVING 0x00000100 /* include/linux/preempt.h */

#define NF_DROP 0 /* include/uapi/linux/netfilter.h */
#define NF_ACCEPT 1
#define NF_STOLEN 2
#define NF_VERDICT_MASK 0xff

/* proc_inum of namespaces: fs/proc/generic.c, and fixed ones up to 256 below it. */
#define NETNS_FIRST 0xefffff00U

#define ETH_HLEN 14
#define VLAN_HLEN 4
#define ETH_P_IP 0x0800
#define ETH_P_ARP 0x0806
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8
#define ETH_P_IPV6 0x86dd
#define ETH_P_MPLS_UC 0x8847
#define ETH_P_MPLS_MC 0x8848
#define ETH_P_PPP_DISC 0x8863
#define ETH_P_PPP_SES 0x8864
#define ETH_P_TEB 0x6558 /* an Ethernet frame inside GRE or Geneve */
#define ARPHRD_ETHER 1
#define ARPHRD_LOOPBACK 772
#define ARP_OPERATION_MAX 25 /* IANA "Address Resolution Protocol (ARP) Parameters" */
#define HEADER_UNSET 0xffff

#endif
