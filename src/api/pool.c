/* SPDX-License-Identifier: Apache-2.0 */
/* The pool for calls that block, and the way back to the loop's thread. */

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "api/api_internal.h"
#include "base/log.h"

static void queue_push(WorkQueue *queue, ApiWork work, void *context)
{
    WorkItem *item = NEW(WorkItem);
    *item = (WorkItem){.work = work, .context = context};
    if (queue->tail)
        queue->tail->next = item;
    else
        queue->head = item;
    queue->tail = item;
    queue->count++;
}

static WorkItem *queue_pop(WorkQueue *queue)
{
    WorkItem *item = queue->head;
    if (!item)
        return NULL;
    queue->head = item->next;
    if (!queue->head)
        queue->tail = NULL;
    queue->count--;
    return item;
}

static void *pool_main(void *argument)
{
    Api *api = argument;
    for (;;) {
        ASSERT(pthread_mutex_lock(&api->pool.lock) == 0);
        while (!api->pool.queue.head && !api->pool.is_stopping)
            ASSERT(pthread_cond_wait(&api->pool.wake, &api->pool.lock) == 0);
        WorkItem *item = queue_pop(&api->pool.queue);
        ASSERT(pthread_mutex_unlock(&api->pool.lock) == 0);
        if (!item)
            return NULL;
        item->work(api, item->context);
        free(item);
    }
}

int pool_start(Api *api, unsigned threads)
{
    ASSERT(pthread_mutex_init(&api->pool.lock, NULL) == 0);
    ASSERT(pthread_cond_init(&api->pool.wake, NULL) == 0);
    api->pool.threads = NEW_ARRAY(pthread_t, threads);
    for (unsigned i = 0; i < threads; i++) {
        int r = pthread_create(&api->pool.threads[i], NULL, pool_main, api);
        if (r != 0)
            return -r;
        api->pool.thread_count++;
    }
    return 0;
}

void pool_stop(Api *api)
{
    if (!api->pool.threads)
        return;
    ASSERT(pthread_mutex_lock(&api->pool.lock) == 0);
    api->pool.is_stopping = true;
    ASSERT(pthread_cond_broadcast(&api->pool.wake) == 0);
    ASSERT(pthread_mutex_unlock(&api->pool.lock) == 0);
    for (unsigned i = 0; i < api->pool.thread_count; i++)
        (void)pthread_join(api->pool.threads[i], NULL);
    free(api->pool.threads);
    api->pool.threads = NULL;
    api->pool.thread_count = 0;
}

void pool_free(Api *api)
{
    (void)pthread_cond_destroy(&api->pool.wake);
    (void)pthread_mutex_destroy(&api->pool.lock);
}

int pool_submit(Api *api, ApiWork work, void *context)
{
    int r = 0;
    ASSERT(pthread_mutex_lock(&api->pool.lock) == 0);
    if (api->pool.queue.count >= API_POOL_QUEUE_MAX || api->pool.is_stopping) {
        r = -EAGAIN;
    } else {
        queue_push(&api->pool.queue, work, context);
        ASSERT(pthread_cond_signal(&api->pool.wake) == 0);
    }
    ASSERT(pthread_mutex_unlock(&api->pool.lock) == 0);
    return r;
}

void loop_post(Api *api, ApiWork work, void *context)
{
    ASSERT(pthread_mutex_lock(&api->loop_lock) == 0);
    bool was_empty = !api->loop_queue.head;
    queue_push(&api->loop_queue, work, context);
    ASSERT(pthread_mutex_unlock(&api->loop_lock) == 0);
    uint64_t one = 1;
    if (was_empty)
        (void)!write(api->loop_descriptor, &one, sizeof(one));
}

static int on_loop_work(sd_event_source *source, int descriptor, uint32_t events, void *userdata)
{
    (void)source;
    (void)events;
    Api *api = userdata;
    uint64_t count;
    (void)!read(descriptor, &count, sizeof(count));
    ASSERT(pthread_mutex_lock(&api->loop_lock) == 0);
    WorkQueue queue = api->loop_queue;
    api->loop_queue = (WorkQueue){0};
    ASSERT(pthread_mutex_unlock(&api->loop_lock) == 0);
    for (WorkItem *item; (item = queue_pop(&queue));) {
        item->work(api, item->context);
        free(item);
    }
    return 0;
}

int loop_attach(Api *api)
{
    ASSERT(pthread_mutex_init(&api->loop_lock, NULL) == 0);
    api->loop_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (api->loop_descriptor < 0)
        return -errno;
    return sd_event_add_io(api->settings.event, &api->loop_source, api->loop_descriptor, EPOLLIN,
                           on_loop_work, api);
}

void loop_detach(Api *api)
{
    api->loop_source = sd_event_source_disable_unref(api->loop_source);
    if (api->loop_descriptor >= 0)
        (void)close(api->loop_descriptor);
    api->loop_descriptor = -1;
    for (WorkItem *item; (item = queue_pop(&api->loop_queue));)
        free(item);
    (void)pthread_mutex_destroy(&api->loop_lock);
}
