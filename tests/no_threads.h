#ifndef TESTS_NO_THREADS_H_
#define TESTS_NO_THREADS_H_

#include <gtest/gtest.h>
#include <pthread.h>

namespace moe {

// While it lives no thread can be started: each would want a stack larger than
// the address space. A limit of processes does not hold for root.
class NoThreads {
 public:
  NoThreads() {
    EXPECT_EQ(pthread_getattr_default_np(&before_), 0);
    pthread_attr_t huge;
    pthread_attr_init(&huge);
    pthread_attr_setstacksize(&huge, size_t{1} << 50);
    EXPECT_EQ(pthread_setattr_default_np(&huge), 0);
    pthread_attr_destroy(&huge);
  }
  ~NoThreads() {
    pthread_setattr_default_np(&before_);
    pthread_attr_destroy(&before_);
  }
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;

 private:
  pthread_attr_t before_;
};

}  // namespace moe

#endif  // TESTS_NO_THREADS_H_
