/* A stand-in for NVIDIA's management library: it says what the file beside it says.
 *
 * The file is named like the library with ".state" added and is read at every call, so that a test can change it:
 *
 *   init CODE                                   what starting the library answers
 *   gpu UUID TOTAL_MB FREE_MB BUSY DEGREES NAME one GPU, in order; an underscore in NAME is a space
 *   part GPU UUID TOTAL_MB FREE_MB              a part of the GPU of that index, which thereby counts as divided
 *   process DEVICE PID MB                       a process on that device; MB "none" if it cannot be told
 *   fail DEVICE WHAT CODE                       WHAT is handle, uuid, memory, busy, degrees or processes
 *   hang                                        nobody gets an answer while this stands here
 *
 * Devices count GPUs first, then parts, each in the order of the file.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MOST 64
#define MB (1024ULL * 1024ULL)

typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_t;
typedef struct { unsigned gpu, memory; } busy_t;
typedef struct { unsigned pid; unsigned long long used; unsigned instance, part; } process_t;
typedef void *device_t;

enum { HANDLE, UUID, MEMORY, BUSY, DEGREES, PROCESSES, KINDS };
static const char *KIND[KINDS] = { "handle", "uuid", "memory", "busy", "degrees", "processes" };

struct device { char uuid[128], name[96]; unsigned long long total, free; unsigned busy, degrees; int parent, fail[KINDS]; };
struct process { unsigned device, pid; unsigned long long used; };

static struct {
    int init, hang;
    unsigned gpus, devices, processes;
    struct device device[MOST];
    struct process process[MOST];
} state;

static void read_state(void) {
    Dl_info self;
    char path[4096], line[512];
    memset(&state, 0, sizeof state);
    dladdr((void *)read_state, &self);
    snprintf(path, sizeof path, "%s.state", self.dli_fname);
    FILE *file = fopen(path, "r");
    if (!file) { state.init = 999; return; }
    while (fgets(line, sizeof line, file)) {
        struct device *d = &state.device[state.devices];
        struct process *p = &state.process[state.processes];
        unsigned at; char what[32], text[64]; int code;
        if (sscanf(line, "init %d", &state.init) == 1) continue;
        if (strncmp(line, "hang", 4) == 0) state.hang = 1;
        if (sscanf(line, "gpu %127s %llu %llu %u %u %95s", d->uuid, &d->total, &d->free, &d->busy, &d->degrees, d->name) == 6) {
            for (char *c = d->name; *c; c++) if (*c == '_') *c = ' ';
            d->parent = -1; state.devices++; state.gpus++;
        } else if (sscanf(line, "part %u %127s %llu %llu", &at, d->uuid, &d->total, &d->free) == 4) {
            strcpy(d->name, "a part"); d->parent = (int)at; d->fail[BUSY] = 3; state.devices++;
        } else if (sscanf(line, "process %u %u %63s", &p->device, &p->pid, text) == 3) {
            if (sscanf(text, "%llu", &p->used) == 1) p->used *= MB; else p->used = ~0ULL;
            state.processes++;
        } else if (sscanf(line, "fail %u %31s %d", &at, what, &code) == 3) {
            for (int k = 0; k < KINDS; k++) if (strcmp(KIND[k], what) == 0) state.device[at].fail[k] = code;
        }
    }
    fclose(file);
}

static void enter(void) {
    read_state();
    while (state.hang) { usleep(5000); read_state(); }
}

static device_t handle(unsigned index) { return (device_t)(unsigned long)(index + 1); }

/* The device behind a handle, or the code that it answers with. */
static int find(device_t device, int kind, struct device **found) {
    enter();
    unsigned long index = (unsigned long)device - 1;
    if (index >= state.devices) return 2;
    *found = &state.device[index];
    return (*found)->fail[kind];
}

int nvmlInit_v2(void) { enter(); return state.init; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "580.82.07"); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 13010; return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { enter(); *count = state.gpus; return 0; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t *device) {
    struct device *d; *device = handle(index); return find(*device, HANDLE, &d);
}

int nvmlDeviceGetHandleByUUID(const char *uuid, device_t *device) {
    enter();
    for (unsigned i = 0; i < state.devices; i++)
        if (strcmp(state.device[i].uuid, uuid) == 0) { *device = handle(i); return state.device[i].fail[HANDLE]; }
    return 6;
}

int nvmlDeviceGetUUID(device_t device, char *text, unsigned size) {
    struct device *d; int code = find(device, UUID, &d);
    if (code == 0) snprintf(text, size, "%s", d->uuid);
    return code;
}

int nvmlDeviceGetName(device_t device, char *text, unsigned size) {
    struct device *d; int code = find(device, UUID, &d);
    if (code == 0) snprintf(text, size, "%s", d->name);
    return code;
}

int nvmlDeviceGetMemoryInfo_v2(device_t device, memory_t *memory) {
    struct device *d; int code = find(device, MEMORY, &d);
    if (code == 0) { memory->total = d->total * MB; memory->free = d->free * MB; memory->used = (d->total - d->free) * MB; }
    return code;
}

int nvmlDeviceGetUtilizationRates(device_t device, busy_t *busy) {
    struct device *d; int code = find(device, BUSY, &d);
    if (code == 0) { busy->gpu = d->busy; busy->memory = 0; }
    return code;
}

int nvmlDeviceGetTemperature(device_t device, int sensor, unsigned *degrees) {
    struct device *d; int code = find(device, DEGREES, &d);
    (void)sensor;
    if (code == 0) *degrees = d->degrees;
    return code;
}

int nvmlDeviceGetComputeRunningProcesses_v3(device_t device, unsigned *count, process_t *processes) {
    struct device *d; int code = find(device, PROCESSES, &d);
    if (code != 0) return code;
    unsigned room = *count, found = 0;
    for (unsigned i = 0; i < state.processes; i++) {
        if (state.process[i].device != (unsigned)(d - state.device)) continue;
        if (found < room) processes[found] = (process_t){ state.process[i].pid, state.process[i].used, ~0U, ~0U };
        found++;
    }
    *count = found;
    return found > room ? 7 : 0;
}

int nvmlDeviceGetMigMode(device_t device, unsigned *current, unsigned *pending) {
    struct device *d; int code = find(device, HANDLE, &d);
    if (code != 0) return code;
    *current = *pending = 0;
    for (unsigned i = 0; i < state.devices; i++) if (state.device[i].parent == (int)(d - state.device)) *current = 1;
    return *current ? 0 : 3;
}

int nvmlDeviceGetMaxMigDeviceCount(device_t device, unsigned *count) { (void)device; *count = 7; return 0; }

int nvmlDeviceGetMigDeviceHandleByIndex(device_t device, unsigned index, device_t *part) {
    struct device *d; int code = find(device, HANDLE, &d);
    for (unsigned i = 0; code == 0 && i < state.devices; i++)
        if (state.device[i].parent == (int)(d - state.device) && index-- == 0) { *part = handle(i); return 0; }
    return 6;
}
