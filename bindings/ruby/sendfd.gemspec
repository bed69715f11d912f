# frozen_string_literal: true

require_relative 'lib/sendfd/version'

Gem::Specification.new do |spec|
  spec.name = 'sendfd'
  spec.version = SendFD::VERSION
  spec.summary = 'Passes open files, sockets and other descriptors between processes'
  spec.description = 'Passes file descriptors over a Unix-domain socket, with libsendfd: none is ' \
                     'lost, whatever the peer sends and whatever exception comes meanwhile.'
  spec.authors = ['the libsendfd maintainers']
  spec.license = 'MIT'
  spec.required_ruby_version = '>= 3.0'
  # A copy of the library that is put there (rake bundle) is in a gem for this machine only.
  bundled = 'lib/sendfd/libsendfd.so.1'
  spec.platform = Gem::Platform::CURRENT if File.exist?(File.join(__dir__, bundled))
  spec.files = Dir.chdir(__dir__) { Dir['LICENSE', 'README.md', '{lib,sig,examples}/**/*.{rb,rbs,1}'].sort }
  spec.extra_rdoc_files = ['README.md']
  spec.metadata = { 'rubygems_mfa_required' => 'true' }
  spec.add_dependency 'ffi', '~> 1.15'
end
