#include "serve/transport_io_thread.h"

#include <utility>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include "serve/transport_connection.h"

namespace sheaf::serve {
namespace asio = boost::asio;
namespace {

class AsioTimer final : public IoTimer {
 public:
  AsioTimer(asio::io_context* context, std::chrono::steady_clock::time_point when, std::function<void()> task)
      : timer_(*context, when) {
    timer_.async_wait([task = std::move(task)](const boost::system::error_code& error) {
      if (!error) task();
    });
  }

 private:
  asio::steady_timer timer_;  // Its destructor cancels.
};

class AsioExecutor final : public IoExecutor, public std::enable_shared_from_this<AsioExecutor> {
 public:
  explicit AsioExecutor(asio::io_context* context) : context_(context) {}
  std::unique_ptr<IoTimer> At(std::chrono::steady_clock::time_point when, std::function<void()> task) override {
    return std::make_unique<AsioTimer>(context_, when, std::move(task));
  }

 protected:
  void Wake() override {
    asio::post(*context_, [self = shared_from_this()] { self->RunPosted(); });
  }

 private:
  asio::io_context* const context_;  // Lives until Close().
};

}  // namespace

IoThread::IoThread() : executor(std::make_shared<AsioExecutor>(&context)) {}

void IoThread::Start(std::function<void()> tick) {
  tick_ = std::move(tick);
  Tick();
  thread_ = std::thread([this] {
    const auto guard = asio::make_work_guard(context);
    context.run();
  });
}

void IoThread::Tick() {
  timer_.expires_after(interval_);
  timer_.async_wait([this](const boost::system::error_code&) {
    tick_();
    Tick();
  });
}

void IoThread::HurryTicks() {
  interval_ = std::chrono::milliseconds(20);
  timer_.cancel();
}

void IoThread::Stop() {
  executor->Close();
  asio::post(context, [this] { context.stop(); });
  if (thread_.joinable()) thread_.join();
}

}  // namespace sheaf::serve
