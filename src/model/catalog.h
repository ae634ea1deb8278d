/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Catalog documents as typed values: providers, hardware types, image types, services, cluster templates.
 * Plain data without behaviour; domain/catalog makes them from JSON and frees them. Everything that an entry
 * points to belongs to the entry (its arena or its document). An entry never changes once it is made, so any
 * thread may read it; the reference count is not atomic, so references are taken and dropped by one thread at
 * a time. */

#include <jansson.h>

#include "base/memory.h"

typedef enum CatalogKind {
    CATALOG_PROVIDER,
    CATALOG_HARDWARE_TYPE,
    CATALOG_IMAGE_TYPE,
    CATALOG_SERVICE,
    CATALOG_CLUSTER_TEMPLATE,
    _CATALOG_KIND_MAX,
    _CATALOG_KIND_INVALID = -22,
} CatalogKind;

typedef struct NameList {
    const char **items;
    size_t count;
} NameList;

typedef struct CatalogLink {
    const char *label; /* may be NULL */
    const char *url;   /* with macros */
} CatalogLink;

typedef struct CatalogLinks {
    CatalogLink *items;
    size_t count;
} CatalogLinks;

typedef struct CatalogProvider {
    const char *provider_type;
    const json_t *fields; /* object: the administrator's values; may hold secrets */
} CatalogProvider;

/* What one provider calls a hardware or image type. */
typedef struct CatalogMapping {
    const char *provider;
    const char *flavor;   /* hardware; may be NULL */
    const char *image;    /* image; may be NULL */
    const char *ssh_user; /* image; may be NULL */
    const char *cost;     /* hardware: decimal number per hour, or NULL */
} CatalogMapping;

typedef struct CatalogMappings {
    CatalogMapping *items;
    size_t count;
} CatalogMappings;

typedef enum ServiceAction {
    SERVICE_INSTALL,
    SERVICE_CONFIGURE,
    SERVICE_INITIALIZE,
    SERVICE_START,
    SERVICE_STOP,
    SERVICE_REMOVE,
    _SERVICE_ACTION_MAX,
    _SERVICE_ACTION_INVALID = -22,
} ServiceAction;

typedef struct CatalogAction {
    const char *type;     /* NULL = the service does not define the action */
    const json_t *fields; /* object of strings, or NULL */
    bool has_executor;    /* false: kept and planned, refused when run */
    bool is_live;         /* of configure: takes effect while the service runs */
} CatalogAction;

typedef enum PortProtocol { PORT_TCP, PORT_UDP } PortProtocol;
typedef enum PortSourceKind {
    PORT_FROM_SERVICE,
    PORT_FROM_CLUSTER,
    PORT_FROM_ANYWHERE,
    PORT_FROM_CIDR
} PortSourceKind;

typedef struct PortSource {
    PortSourceKind kind;
    const char *text;     /* the service name, or the CIDR in its canonical form; NULL for the others */
    const char *spelling; /* as it was written: "service:web" */
} PortSource;

typedef struct CatalogPort {
    uint16_t first, last;
    PortProtocol protocol;
    PortSource *sources;
    size_t source_count;
} CatalogPort;

typedef struct CatalogCertificate {
    const char *name;
    const char *key_path, *certificate_path, *ca_path; /* absolute; ca_path may be NULL */
    const char *owner;                                 /* user on the node; NULL = root */
    NameList dns_names;                                /* with macros */
    const char *reload;                                /* script of the bundle, or NULL */
} CatalogCertificate;

typedef struct CatalogService {
    NameList provides, conflicts;
    NameList install_requires, install_uses, runtime_requires, runtime_uses;
    CatalogAction actions[_SERVICE_ACTION_MAX];
    CatalogLinks links;
    CatalogPort *ports;
    size_t port_count;
    CatalogCertificate *certificates;
    size_t certificate_count;
} CatalogService;

typedef struct ServiceConstraint {
    const char *service;
    NameList hardware_types, image_types; /* empty = all */
    int64_t minimum, maximum;
    bool has_minimum; /* said in the document: a minimum of 0 that is said allows the service to be on no node
                       */
} ServiceConstraint;

typedef struct NameLists {
    NameList *items;
    size_t count;
} NameLists;

typedef struct TemplateSecret {
    const char *name;
    int64_t length;
    const char *alphabet;
    NameList services;
} TemplateSecret;

typedef struct CatalogTemplate {
    NameList services;                                              /* defaults */
    const char *provider, *hardware_type, *image_type, *dns_suffix; /* defaults, may be NULL */
    json_t *config; /* object: defaults.config with the inline configs of services merged in */
    NameList compatible_services, compatible_hardware_types, compatible_image_types; /* empty = all */
    NameLists must_coexist, cant_coexist;
    ServiceConstraint *constraints;
    size_t constraint_count;
    int64_t size_minimum, size_maximum;               /* size_maximum 0 = no limit of the template */
    int64_t lease_initial, lease_maximum, lease_step; /* ms; 0 = for ever, unlimited, any */
    CatalogLinks links;
    const char *extends;
    NameList includes;
    TemplateSecret *secrets;
    size_t secret_count;
} CatalogTemplate;

typedef struct CatalogEntry {
    unsigned references;
    CatalogKind kind;
    const char *name;
    const char *label, *description, *icon; /* may be NULL */
    int64_t version;                        /* 0 until the store gives one */
    Arena *arena;
    json_t *document; /* as it was written */
    union {
        CatalogProvider provider;
        CatalogMappings mappings; /* hardware and image types */
        CatalogService service;
        CatalogTemplate template;
    };
} CatalogEntry;
